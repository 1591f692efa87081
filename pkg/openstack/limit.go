// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"net/http"
)

// limiter bounds the calls of one service that run at the same time.
type limiter struct{ slots chan struct{} }

func newLimiter(calls int) *limiter {
	if calls <= 0 {
		calls = DefaultMaxCalls
	}
	return &limiter{slots: make(chan struct{}, calls)}
}

// limited makes each call wait for a free slot. A call occupies its slot until the
// answer begins: the reader of a body limits itself, and a long download must not keep
// other calls from polling.
type limited struct {
	limiter *limiter
	meter   *meter
	next    http.RoundTripper
}

// RoundTrip sends the call when a slot is free.
func (l *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	l.meter.waiting.Inc()
	select {
	case l.limiter.slots <- struct{}{}:
		l.meter.waiting.Dec()
	case <-ctx.Done():
		l.meter.waiting.Dec()
		closeBody(req)
		return nil, context.Cause(ctx)
	}
	defer func() { <-l.limiter.slots }()
	return l.next.RoundTrip(req)
}
