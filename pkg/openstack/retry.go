// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/wait"
)

// retryPolicy states how often and after which delays a call is repeated.
type retryPolicy struct {
	attempts int
	delays   backoff.ExponentialBackOff // copied for each call
	sleep    func(context.Context, time.Duration) error
}

func defaultRetryPolicy() retryPolicy {
	return retryPolicy{
		attempts: 4,
		delays:   wait.Exponential(500*time.Millisecond, 30*time.Second),
		sleep:    wait.Sleep,
	}
}

// retry repeats calls that were not delivered, and calls for which shouldRetry expects
// another outcome. The last answer is the result.
type retry struct {
	policy retryPolicy
	meter  *meter
	// safePosts means that a POST may be repeated too.
	safePosts bool
	next      http.RoundTripper
}

// RoundTrip sends the call as often as the policy says.
func (r *retry) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	delays, tolerance, waited := r.policy.delays, outageTolerance(ctx), time.Duration(0)
	req, body := withStream(req)
	defer body.lastCallDone()
	for attempt := 1; ; attempt++ {
		resp, err := r.next.RoundTrip(req)
		undelivered := notDelivered(resp, err)
		if ctx.Err() != nil || !undelivered && !r.shouldRetry(req.Method, resp, err) || !replayable(req) && !body.unread() {
			return resp, err
		}
		if attempt >= r.policy.attempts && (waited >= tolerance || !undelivered && !unavailable(resp)) {
			return resp, err
		}
		again, replayErr := replay(req)
		if replayErr != nil {
			return resp, err
		}
		r.meter.retried(resp, err)
		delay := nextDelay(&delays, resp)
		waited += max(delay, delays.InitialInterval) // a service may ask for no delay at all
		if resp != nil {
			drain(resp)
		}
		if err := r.policy.sleep(ctx, delay); err != nil {
			closeBody(again)
			return nil, err
		}
		req = again
	}
}

// nextDelay returns the delay before the next attempt: the delay that the server asks
// for, up to the bound of delays, or else the next of delays.
func nextDelay(delays *backoff.ExponentialBackOff, resp *http.Response) time.Duration {
	if asked, ok := retryAfter(resp); ok {
		return min(asked, delays.MaxInterval)
	}
	return delays.NextBackOff()
}

// retryAfter parses the header Retry-After: seconds, or a date.
func retryAfter(resp *http.Response) (time.Duration, bool) {
	if resp == nil {
		return 0, false
	}
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(date)), true
	}
	return 0, false
}

// shouldRetry reports whether a delivered call can be repeated and may then have
// another outcome. A POST is repeated only if the service refused it because of the
// rate of calls.
//
// A conflict is final unless the service states how long it lasts: the plugins know
// better which resource is busy and until when. Cinder and Nova also answer 413 when a
// quota is exhausted, in which case waiting does not help.
// cinder: api/openstack/wsgi.py Fault, with "Retry-After: 0"
func (r *retry) shouldRetry(method string, resp *http.Response, err error) bool {
	if err != nil {
		return r.idempotent(method) && !errors.As(err, new(*tls.CertificateVerificationError)) && !errors.As(err, new(*guard.RefusedError))
	}
	asked, says := retryAfter(resp)
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusRequestEntityTooLarge:
		return says && asked > 0
	case http.StatusConflict:
		return r.idempotent(method) && says
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return r.idempotent(method)
	}
	return false
}

func (r *retry) idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodPut:
		return true
	}
	return r.safePosts
}

// replayable reports whether the body, if any, can be read a second time. The stream of
// an image upload cannot.
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

type toleranceKey struct{}

// WithOutageTolerance returns a context whose calls ride out the outage of a service,
// such as its restart: while the service takes no connections or says that it is
// unavailable, each call is repeated for as long as d. Without it a call is repeated
// for seconds only, which suits a caller that waits for an answer, but not an
// operation that has been at work for hours.
func WithOutageTolerance(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, toleranceKey{}, d)
}

func outageTolerance(ctx context.Context) time.Duration {
	d, _ := ctx.Value(toleranceKey{}).(time.Duration)
	return d
}

// RetryCreate calls create, which creates something in a service, and repeats it while
// the service answers with an error of its own, as Nova does when another service that
// it needs is away: for as long as ctx tolerates an outage, so once without a tolerance.
// A POST that failed like this is not repeated by the transport, which cannot know how
// far the service came; create has to look for what an earlier call of it created.
func RetryCreate(ctx context.Context, create func() error) error {
	return retryCreate(ctx, defaultRetryPolicy(), create)
}

func retryCreate(ctx context.Context, policy retryPolicy, create func() error) error {
	delays, tolerance, waited := policy.delays, outageTolerance(ctx), time.Duration(0)
	for {
		err := create()
		var answer gophercloud.ErrUnexpectedResponseCode
		if waited >= tolerance || !errors.As(err, &answer) || answer.Actual < http.StatusInternalServerError {
			return err
		}
		delay := delays.NextBackOff()
		waited += delay
		if policy.sleep(ctx, delay) != nil {
			return err
		}
	}
}

const (
	// withoutKeystone is the text with which a service answers when it cannot reach
	// Keystone to validate a token. keystonemiddleware: auth_token/__init__.py
	withoutKeystone = "The Keystone service is temporarily unavailable."
	// withoutGlance is what Cinder answers, as a bad request, when it cannot create the
	// image that a volume is to be uploaded to. It has not changed the volume then.
	// cinder: exception.py GlanceConnectionFailed, volume/api.py copy_volume_to_image
	withoutGlance = "Connection to glance failed"
)

// notDelivered reports whether the service has not acted on a call, so that even a POST
// can be repeated: there was no connection, or the service failed while it checked the
// token or in the first call of its own.
func notDelivered(resp *http.Response, err error) bool {
	if err != nil {
		var op *net.OpError
		return errors.As(err, &op) && op.Op == "dial"
	}
	switch resp.StatusCode {
	case http.StatusServiceUnavailable:
		return bytes.Contains(peek(resp), []byte(withoutKeystone))
	case http.StatusBadRequest:
		return bytes.Contains(peek(resp), []byte(withoutGlance))
	}
	return false
}

func unavailable(resp *http.Response) bool {
	return resp != nil && resp.StatusCode == http.StatusServiceUnavailable
}

// peek returns the beginning of a body, which is still read from the start afterwards.
func peek(resp *http.Response) []byte {
	beginning, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(beginning), resp.Body), resp.Body}
	return beginning
}

// stream is a body that can be read only once, such as an image upload. A call that
// found no connection has not begun to read it and can be repeated, although the
// transport closes the body of every call that fails.
type stream struct {
	io.ReadCloser

	mu                  sync.Mutex
	begun, closed, last bool
}

// withStream wraps the body of a request that cannot be replayed. The stream is nil if
// the request needs none.
func withStream(req *http.Request) (*http.Request, *stream) {
	if replayable(req) {
		return req, nil
	}
	s := &stream{ReadCloser: req.Body}
	req = req.WithContext(req.Context())
	req.Body = s
	return req, s
}

// Read reads from the body and records that the call has begun to read.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	s.begun = true
	s.mu.Unlock()
	return s.ReadCloser.Read(p)
}

// Close closes the body once it was read from, or after the last call.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if !s.begun && !s.last {
		return nil
	}
	return s.ReadCloser.Close()
}

// unread reports whether no call has read from the body. It is false for a nil stream.
func (s *stream) unread() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.begun
}

// lastCallDone closes a body that Close has left open for another call.
func (s *stream) lastCallDone() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = true
	if s.closed && !s.begun {
		_ = s.ReadCloser.Close()
	}
}
