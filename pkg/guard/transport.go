// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// RefusedError is the failure of a request that a guard has refused. Repeating the
// request is useless.
type RefusedError struct{ Cause error }

func (e *RefusedError) Error() string { return e.Cause.Error() }

// Unwrap returns the guard's error.
func (e *RefusedError) Unwrap() error { return e.Cause }

// Trace returns the context of a request that changes something. The guards are checked
// once a connection is available, because establishing one may take long. If they
// refuse, the connection is closed before a byte is sent, and refuse receives the
// reason.
func Trace(ctx context.Context, refuse func(error)) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) {
			if err := Allowed(ctx); err != nil {
				refuse(err)
				got.Conn.Close()
			}
		},
	})
}

// Transport returns a transport for services: requests with a method that changes
// something need the consent of their context's guards when they begin, when they have
// a connection, and at each read of their bodies. Otherwise they fail with a
// RefusedError. next is, or ends in, an *http.Transport.
func Transport(next http.RoundTripper) http.RoundTripper { return transport{next} }

type transport struct{ next http.RoundTripper }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if safe(req.Method) || ctx.Value(key{}) == nil {
		return t.next.RoundTrip(req)
	}
	ctx = Sticky(ctx)
	if err := Allowed(ctx); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &RefusedError{err}
	}
	var refused atomic.Pointer[RefusedError]
	guarded := req.WithContext(Trace(ctx, func(err error) { refused.Store(&RefusedError{err}) }))
	if req.Body != nil && req.Body != http.NoBody {
		guarded.Body = newBody(ctx, req.Body, req.ContentLength)
	}
	if req.GetBody != nil {
		guarded.GetBody = func() (io.ReadCloser, error) {
			again, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			return newBody(ctx, again, req.ContentLength), nil
		}
	}
	res, err := t.next.RoundTrip(guarded)
	if e := refused.Load(); err != nil && e != nil {
		return nil, e
	}
	return res, err
}

// safe reports whether requests of a method change nothing.
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// body is the body of a request that a guard may interrupt.
type body struct {
	*Reader
	io.Closer
}

func newBody(ctx context.Context, from io.ReadCloser, size int64) body {
	return body{NewReader(ctx, from, size), from}
}
