// SPDX-License-Identifier: Apache-2.0

package middleware

import (
	"context"
	"maps"

	"github.com/karbor-project/karbor/rpc"
)

// Tracer is the interface to distributed tracing; a few lines adapt OpenTelemetry to
// it. Implementations are safe for concurrent use.
type Tracer interface {
	// Start begins the span of a request. The span's parent comes from the headers
	// traceparent and tracestate of W3C Trace Context, if present. The returned context
	// holds the span; end is called once, with the error of the handler.
	Start(ctx context.Context, method string, headers map[string]string) (_ context.Context, end func(error))
	// Inject returns headers that describe the span in ctx, for a peer to continue it.
	// It returns nil without a span.
	Inject(ctx context.Context) map[string]string
}

// Tracing makes a span of each request. To trace outgoing requests too, pass the
// tracer's Inject as rpc.ClientOptions.Headers.
func Tracing(t Tracer) rpc.Middleware {
	return func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (any, error) {
			ctx, end := t.Start(ctx, r.Method, r.Headers)
			result, err := next(ctx, r)
			end(err)
			return result, err
		}
	}
}

// Passthrough is a Tracer without spans: a service that does not trace itself passes on
// the trace of its caller.
type Passthrough struct{}

var _ Tracer = Passthrough{}

// traced is the key of the caller's headers in a context.
type traced struct{}

// traceHeaders are the headers of W3C Trace Context.
var traceHeaders = []string{"traceparent", "tracestate"}

// Start implements Tracer.
func (Passthrough) Start(ctx context.Context, _ string, headers map[string]string) (context.Context, func(error)) {
	var keep map[string]string
	for _, name := range traceHeaders {
		if value, ok := headers[name]; ok {
			if keep == nil {
				keep = make(map[string]string, len(traceHeaders))
			}
			keep[name] = value
		}
	}
	if keep != nil {
		ctx = context.WithValue(ctx, traced{}, keep)
	}
	return ctx, func(error) {}
}

// Inject implements Tracer.
func (Passthrough) Inject(ctx context.Context) map[string]string {
	headers, _ := ctx.Value(traced{}).(map[string]string)
	return maps.Clone(headers)
}
