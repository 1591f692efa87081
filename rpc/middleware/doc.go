// SPDX-License-Identifier: Apache-2.0

// Package middleware has decorators for the handlers of package rpc: what every
// service wants around its methods and none should write again. A server applies
// them to all methods, the first one outermost:
//
//	rpc.ServerOptions{Middleware: []rpc.Middleware{
//		middleware.Logging(log), middleware.Tracing(tracer), middleware.Recovery(),
//	}}
//
// Metrics are in package metrics, which depends on the Prometheus client.
package middleware
