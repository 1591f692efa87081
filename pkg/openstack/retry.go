// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/guard"
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

// retry makes calls again that did nothing or that do the same when repeated, as
// worthRepeating says, and all that were not taken at all. The last answer is the
// result.
type retry struct {
	policy retryPolicy
	meter  *meter
	// harmless tells that repeating a POST does no harm either.
	harmless bool
	next     http.RoundTripper
}

// RoundTrip sends the call as often as the policy says.
func (r *retry) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	patience, waited := patienceOf(ctx), time.Duration(0)
	req, body := streamOf(req)
	defer body.finish()
	for attempt := 1; ; attempt++ {
		resp, err := r.next.RoundTrip(req)
		untaken := untaken(resp, err)
		if ctx.Err() != nil || !untaken && !r.worthRepeating(req.Method, resp, err) || !replayable(req) && !body.fresh() {
			return resp, err
		}
		if attempt >= r.policy.attempts && (waited >= patience || !untaken && !unavailable(resp)) {
			return resp, err
		}
		again, replayErr := replay(req)
		if replayErr != nil {
			return resp, err
		}
		r.meter.retried(resp, err)
		wait := r.policy.wait(attempt, resp)
		waited += max(wait, r.policy.first) // a service may ask for no wait at all
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

// wait is what lies before the next attempt: what the server asks for, or twice
// as long as before.
func (p retryPolicy) wait(attempt int, resp *http.Response) time.Duration {
	if asked, ok := retryAfter(resp); ok {
		return min(asked, p.longest)
	}
	return p.jitter(min(p.first<<min(attempt-1, 16), p.longest))
}

// retryAfter reads the header of this name: seconds, or a date.
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

// worthRepeating tells whether the same call may have another outcome, and does
// no harm. A POST that was taken is repeated only if it was turned away because
// there are too many.
//
// A conflict is an answer, unless the service says for how long it lasts: what is
// busy, and until when, the plugins know better. Cinder and Nova say 413 for
// used-up quotas too, with nothing to wait for.
// cinder: api/openstack/wsgi.py Fault, with "Retry-After: 0"
func (r *retry) worthRepeating(method string, resp *http.Response, err error) bool {
	if err != nil {
		return r.repeatable(method) && !errors.As(err, new(*tls.CertificateVerificationError)) && !errors.As(err, new(*guard.RefusedError))
	}
	asked, says := retryAfter(resp)
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusRequestEntityTooLarge:
		return says && asked > 0
	case http.StatusConflict:
		return r.repeatable(method) && says
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return r.repeatable(method)
	}
	return false
}

func (r *retry) repeatable(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodPut:
		return true
	}
	return r.harmless
}

// replayable tells whether the body, if any, can be read a second time. That of
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

type patienceKey struct{}

// WithPatience returns a context whose calls bear with a service that is away, such
// as one that is restarted: each is made again for that long, in which the service
// takes no connections or says that it is unavailable. Without it a call is made a
// few times within seconds, which is right for callers that wait for an answer and
// a pity for an operation that has been at work for hours.
func WithPatience(ctx context.Context, patience time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, patience)
}

func patienceOf(ctx context.Context) time.Duration {
	patience, _ := ctx.Value(patienceKey{}).(time.Duration)
	return patience
}

// Insist calls create, which makes something, again while the service fails in it,
// as Nova does when one that it needs is away: for as long as the patience of ctx
// lasts, once without it. Such a POST is not repeated by itself, since nobody knows
// how far it has come; create looks for what an earlier call of it has made.
func Insist(ctx context.Context, create func() error) error {
	return insist(ctx, defaultRetryPolicy(), create)
}

func insist(ctx context.Context, policy retryPolicy, create func() error) error {
	patience, waited := patienceOf(ctx), time.Duration(0)
	for attempt := 1; ; attempt++ {
		err := create()
		var answer gophercloud.ErrUnexpectedResponseCode
		if waited >= patience || !errors.As(err, &answer) || answer.Actual < http.StatusInternalServerError {
			return err
		}
		wait := policy.wait(attempt, nil)
		waited += wait
		if policy.sleep(ctx, wait) != nil {
			return err
		}
	}
}

const (
	// withoutKeystone is what a service answers to a call of which it cannot find out
	// whose it is. keystonemiddleware: auth_token/__init__.py
	withoutKeystone = "The Keystone service is temporarily unavailable."
	// withoutGlance is what Cinder answers, as a bad request, when it cannot make the
	// image that a volume was to become. The volume is then as it was.
	// cinder: exception.py GlanceConnectionFailed, volume/api.py copy_volume_to_image
	withoutGlance = "Connection to glance failed"
)

// untaken tells that nobody has taken a call, so that to repeat even a POST does no
// harm: there was no connection, or the call came no further than its token or than
// the first that its service needs.
func untaken(resp *http.Response, err error) bool {
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

// peek returns the begin of a body that is read from the start all the same.
func peek(resp *http.Response) []byte {
	begin, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), resp.Body), resp.Body}
	return begin
}

// stream is a body that can be read once, as that of an image upload. A call that
// found no connection has not begun to read it, so it can be made again, although
// the transport closes the body of every call that fails.
type stream struct {
	io.ReadCloser

	mu                  sync.Mutex
	begun, closed, last bool
}

// streamOf returns the request with a body of ours if its body is a stream, and
// that body.
func streamOf(req *http.Request) (*http.Request, *stream) {
	if replayable(req) {
		return req, nil
	}
	s := &stream{ReadCloser: req.Body}
	req = req.WithContext(req.Context())
	req.Body = s
	return req, s
}

// Read begins it.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	s.begun = true
	s.mu.Unlock()
	return s.ReadCloser.Read(p)
}

// Close waits for the last call as long as nobody has read.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if !s.begun && !s.last {
		return nil
	}
	return s.ReadCloser.Close()
}

// fresh tells whether nobody has read. A nil stream is not.
func (s *stream) fresh() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.begun
}

// finish says that there is no further call.
func (s *stream) finish() {
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
