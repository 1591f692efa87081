// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"encoding/json"
	"strconv"
	"time"
)

// Context is the request context of a call: what the caller's to_dict() gave,
// without the _context_ prefix of the wire. Names and values are the services'
// own; values stay raw JSON so that unknown ones pass through unchanged.
type Context map[string]json.RawMessage

// clientTimeout is the key under which a handler finds the caller's call-monitor
// timeout in its context. It is never sent. oslo.messaging: amqpdriver.py
const clientTimeout = "client_timeout"

// Request is one request as a handler sees it.
type Request struct {
	Method    string
	Namespace string
	Version   string
	// Args are the keyword arguments; there are no positional ones.
	Args map[string]json.RawMessage
	// Context includes client_timeout, as in Python; a client drops it again when
	// the context is passed on.
	Context Context
	// UniqueID is fresh for each message and repeated when one is redelivered. It
	// is empty when the sender gave none.
	UniqueID string
	// WantsReply tells a call from a cast.
	WantsReply bool
	// Redelivered says that the broker has delivered the request before.
	Redelivered bool
	// Deadline is when the caller gives up, counted from the arrival of the request;
	// zero for casts and for callers that do not tell. A request that has waited for a
	// worker until then does not run. See [ServerOptions].
	Deadline time.Time
	// Headers are the AMQP headers with values of text, such as traceparent.
	Headers map[string]string

	wire   wireRequest
	accept func()
}

// Accept says that the request of an [UntilAccepted] method is durable with the
// handler: the broker may forget it. It is idempotent, safe for concurrent use
// and without effect for other methods.
func (r *Request) Accept() {
	if r.accept != nil {
		r.accept()
	}
}

// Encoded is a result that is JSON already. A server sends it as it is, checked but
// not copied by encoding/json: for answers that are asked for much more often than
// they change. Nil is null; text that is not JSON, such as none at all, is a failure
// of the call.
type Encoded []byte

// MarshalJSON implements json.Marshaler.
func (e Encoded) MarshalJSON() ([]byte, error) {
	if e == nil {
		return null, nil
	}
	return e, nil
}

// expire reads the caller's timeout off the message's expiration, which a client
// sets on calls alone. oslo.messaging: impl_rabbit.py topic_send
func (r *Request) expire(expiration string, arrived time.Time) {
	if !r.WantsReply || expiration == "" {
		return
	}
	ms, err := strconv.ParseInt(expiration, 10, 64)
	if err == nil && ms > 0 && ms <= maxPatience.Milliseconds() {
		r.Deadline = arrived.Add(time.Duration(ms) * time.Millisecond)
	}
}

// maxPatience is a caller's timeout beyond which there is no deadline.
const maxPatience = 10 * 365 * 24 * time.Hour

// Handler executes one request. The context ends when the server is stopped hard
// and, for [AtMostOnce] methods, at the request's Deadline. The result is encoded as
// JSON, unless it is [Encoded]; nil becomes null. An error becomes a failure at the caller, see [RemoteError] and
// [ServerOptions].
type Handler func(ctx context.Context, req *Request) (any, error)

// Middleware wraps a handler with behaviour of its own.
type Middleware func(Handler) Handler

// Delivery is a method's promise about lost and repeated requests.
type Delivery int

const (
	// AtMostOnce acknowledges a request before its handler runs: a crash loses it.
	// This is what oslo.messaging does for every method.
	AtMostOnce Delivery = iota
	// UntilAccepted acknowledges a request when its handler calls Accept or
	// returns: a crash before that brings it back, to this server or another.
	UntilAccepted
)

// Method is one callable method of an endpoint.
type Method struct {
	Handler  Handler
	Delivery Delivery
}

// Endpoint is a set of methods of one namespace and version. Only listed methods
// can be called, and of those none whose name starts with an underscore.
type Endpoint struct {
	// Namespace of the requests that it serves; empty is the null namespace.
	Namespace string
	// Version that it implements, "M.m" or "M.m.r"; empty means "1.0".
	Version string
	Methods map[string]Method
}
