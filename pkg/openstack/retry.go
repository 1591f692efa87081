// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// retryPolicy says how often and after which waits a call is made again.
type retryPolicy struct {
	attempts int
	first    time.Duration // wait after the first attempt, doubled each time
	longest  time.Duration // bound of one wait, also of what a server asks for
	jitter   func(time.Duration) time.Duration
	sleep    func(context.Context, time.Duration) error
}

func defaultRetryPolicy() retryPolicy {
	return retryPolicy{
		attempts: 4,
		first:    500 * time.Millisecond,
		longest:  30 * time.Second,
		jitter:   func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) },
		sleep:    sleep,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retry makes calls again that did nothing or that do the same when repeated:
// GET, HEAD, DELETE and PUT, after 429 and 503 and after failures of the
// connection. The last answer is the result.
type retry struct {
	policy retryPolicy
	// harmless tells that repeating a POST does no harm either.
	harmless bool
	next     http.RoundTripper
}

// RoundTrip sends the call as often as the policy says.
func (r *retry) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for attempt := 1; ; attempt++ {
		resp, err := r.next.RoundTrip(req)
		if attempt >= r.policy.attempts || ctx.Err() != nil || !worthRepeating(resp, err) || !r.repeatable(req.Method) || !replayable(req) {
			return resp, err
		}
		again, replayErr := replay(req)
		if replayErr != nil {
			return resp, err
		}
		wait := r.policy.wait(attempt, resp)
		if resp != nil {
			drain(resp)
		}
		if err := r.policy.sleep(ctx, wait); err != nil {
			closeBody(again)
			return nil, err
		}
		req = again
	}
}

func (p retryPolicy) wait(attempt int, resp *http.Response) time.Duration {
	wait := min(p.first<<(attempt-1), p.longest)
	if resp != nil {
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds >= 0 {
			return min(time.Duration(seconds)*time.Second, p.longest)
		}
	}
	return p.jitter(wait)
}

func worthRepeating(resp *http.Response, err error) bool {
	var distrust *tls.CertificateVerificationError
	if err != nil {
		return !errors.As(err, &distrust)
	}
	return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable
}

func (r *retry) repeatable(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodPut:
		return true
	}
	return r.harmless
}

// replayable tells whether the body, if any, can be sent a second time. That of
// an image upload cannot: it is a stream.
func replayable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// replay returns the request with its body from the start.
func replay(req *http.Request) (*http.Request, error) {
	again := req.Clone(req.Context())
	if req.GetBody == nil {
		return again, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again.Body = body
	return again, nil
}

// drain reads the rest of a short answer so that its connection can be used
// again.
func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
