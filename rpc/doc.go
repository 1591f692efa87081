// SPDX-License-Identifier: Apache-2.0

// Package rpc is oslo.messaging for Go: servers that Python clients call, and
// clients that call Python servers, without either side noticing that its peer is
// written in Go.
//
// A [Server] listens on a [Target] and hands each request to the [Handler] of
// the [Endpoint] that serves its namespace, version and method. A [Client]
// sends requests: [Client.Call] waits for an answer, [Client.Cast] does not, and a
// cast to a target with Fanout reaches every server of the topic. Both talk to the
// broker through a [Transport]:
//
//   - package rabbit implements it for RabbitMQ, with the options that
//     oslo.messaging has for it,
//   - package rpctest in memory, for the tests of a service,
//
// and both pass the same conformance suite. Beside them are
//
//   - package notify: the notifier and the notification listener,
//   - package versionedobject: the objects of oslo.versionedobjects,
//   - package middleware: logging, tracing and recovery around handlers,
//   - package metrics: Prometheus metrics.
//
// # Handlers
//
// A handler gets a [Request] with the keyword arguments as JSON and the request
// context of the caller, and returns what encoding/json can encode. [Request.Unpack]
// decodes the arguments into variables and refuses missing and unknown ones as
// Python would. At most [ServerOptions].Workers handlers run at a time; requests
// beyond stay with the broker, for this server or another.
//
// The context of a handler ends when the caller's timeout is over and nobody waits for
// the answer any more: the cause is [ErrAbandoned]. A request whose caller
// gave up before a worker was free does not run. The context also ends when the
// server is stopped hard, with the cause [ErrStopped].
//
// # Delivery
//
// A method is either [AtMostOnce], as everything in oslo.messaging is, or
// [UntilAccepted]: such a request stays with the broker until its handler has
// called [Request.Accept] (or returned), so that a crash before that moment
// loses nothing. Its context does not end with the caller, since the work that it
// starts outlives the call. Requests carry a unique id; a redelivered or repeated
// one is not executed again while the server remembers it, and a repeated
// UntilAccepted request gets the answer of the first.
//
// [Server.Stop] loses nothing either: requests that have not started go back to
// the broker, running handlers finish, and their answers are sent.
//
// # Failures
//
// An error of a handler that implements [RemoteError] travels as the Python
// exception that it names, and so does a [*Failure] made with [NewFailure]. Python
// clients raise the exception itself when it is one of Python's own or its module
// is in their allowed_remote_exmods, else oslo_messaging.RemoteError. A panic
// becomes a RuntimeError, and the server goes on; so does whatever else breaks in a
// handler, its middleware, its result or its error. Only an endless recursion in the
// handler's own code ends the process, which Go does not let a program survive.
//
// A caller gets a [*Failure] with class, module, message and arguments of the
// exception that the server raised. No answer in time is an error that wraps
// [ErrTimeout].
//
// # Compatibility
//
// Messages are the same in oslo.messaging 14.0.3 and 18.1.0: the tests send again
// what both were recorded to send, and run against the clients, servers, notifiers
// and listeners of 14.0.3.
package rpc
