// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Handler executes one request. The context ends when the server is stopped hard and,
// for [AtMostOnce] methods, at the request's Deadline. The result is encoded as JSON,
// unless it is [Encoded]; nil becomes null. An error becomes a failure at the caller,
// see [RemoteError] and [ServerOptions].
type Handler func(ctx context.Context, req *Request) (any, error)

// Middleware wraps a handler to add behaviour to it.
type Middleware func(Handler) Handler

// Delivery is a method's guarantee about lost and repeated requests.
type Delivery int

const (
	// AtMostOnce acknowledges a request before its handler runs, so a crash loses the
	// request. oslo.messaging treats every method like this.
	AtMostOnce Delivery = iota
	// UntilAccepted acknowledges a request when its handler calls Accept or returns.
	// After a crash before that, the broker delivers the request again, to this server
	// or another.
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
	// Namespace is the namespace of the requests served; empty is the null namespace.
	Namespace string
	// Version is the version implemented, "M.m" or "M.m.r"; empty means "1.0".
	Version string
	Methods map[string]Method
}

// Dispatcher finds the method that serves a request.
// oslo.messaging: rpc/dispatcher.py RPCDispatcher
type Dispatcher struct {
	endpoints []endpoint
}

type endpoint struct {
	namespace string
	version   version
	methods   map[string]Method
}

// dispatcherModule is the Python module of the two exceptions that dispatching raises.
const dispatcherModule = "oslo_messaging.rpc.dispatcher"

// NewDispatcher validates the endpoints and wraps their handlers, the first middleware
// outermost.
func NewDispatcher(endpoints []Endpoint, wrap ...Middleware) (*Dispatcher, error) {
	d := &Dispatcher{endpoints: make([]endpoint, 0, len(endpoints))}
	for _, e := range endpoints {
		text := e.Version
		if text == "" {
			text = DefaultVersion
		}
		v, err := parseVersion(text)
		if err != nil {
			return nil, fmt.Errorf("rpc: endpoint of namespace %q: %w", e.Namespace, err)
		}
		methods := make(map[string]Method, len(e.Methods))
		for name, m := range e.Methods {
			if m.Handler == nil {
				return nil, fmt.Errorf("rpc: method %q has no handler", name)
			}
			for i := len(wrap) - 1; i >= 0; i-- {
				m.Handler = wrap[i](m.Handler)
			}
			methods[name] = m
		}
		d.endpoints = append(d.endpoints, endpoint{namespace: e.Namespace, version: v, methods: methods})
	}
	if len(d.endpoints) == 0 {
		return nil, errors.New("rpc: a server needs an endpoint")
	}
	return d, nil
}

// Resolve returns the method from the first endpoint that serves the request's
// namespace and version and lists the method. The error is a *Failure for the caller.
func (d *Dispatcher) Resolve(r *Request) (Method, error) {
	if r.wire.problem != nil {
		return Method{}, r.wire.problem
	}
	requested, err := parseVersion(r.Version)
	served := false
	for i := range d.endpoints {
		e := &d.endpoints[i]
		if err != nil || !e.inNamespace(r) || !e.version.serves(requested) {
			continue
		}
		// The default access policy hides names with a leading underscore.
		if m, ok := e.methods[r.Method]; ok && !strings.HasPrefix(r.Method, "_") {
			return m, nil
		}
		served = true
	}
	if served {
		return Method{}, NewFailure(dispatcherModule, "NoSuchMethod",
			"Endpoint does not support RPC method "+r.Method)
	}
	return Method{}, NewFailure(dispatcherModule, "UnsupportedVersion",
		"Endpoint does not support RPC version "+r.Version+". Attempted method: "+r.Method)
}

// inNamespace reports whether the endpoint serves the namespace. The null namespace
// matches only null, not "".
func (e *endpoint) inNamespace(r *Request) bool {
	if e.namespace == "" {
		return !r.wire.hasNamespace && r.Namespace == ""
	}
	return e.namespace == r.Namespace
}

// ping is oslo.messaging's own method, looked up after those of the application.
// oslo.messaging: rpc/server.py, [DEFAULT] rpc_ping_enabled
func pingEndpoint() Endpoint {
	pong := func(context.Context, *Request) (any, error) { return "pong", nil }
	return Endpoint{Methods: map[string]Method{"oslo_rpc_server_ping": {Handler: pong}}}
}
