// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/httpclient"
	"github.com/karbor-project/karbor/pkg/wait"
)

// request is one call of Swift's API. It may be sent repeatedly.
type request struct {
	method string
	path   string // below the account, escaped
	query  url.Values
	header map[string]string
	body   *bank.Upload // nil: none
}

// writes reports whether the request changes stored data.
func (r *request) writes() bool { return r.method != http.MethodGet && r.method != http.MethodHead }

// objectPath returns the path of an object. The object's name is the whole key, whose first slash
// follows the slash after the container: //checkpoints/... must be kept. Segments are escaped as
// Python's urllib does, with @ as %40.
//
// swiftclient: client.py put_object, quote
func objectPath(container, key string) string {
	return containerPath(container) + "/" + strings.ReplaceAll(escape(key), "%2F", "/")
}

func containerPath(container string) string { return "/" + escape(container) }

// escape is url.PathEscape that also escapes the characters $&+=:@, as Python does.
func escape(name string) string {
	return strings.NewReplacer("+", "%20").Replace(url.QueryEscape(name))
}

// send sends the request once. The request's context ends with the response's body, or earlier if
// no byte moved for the stall timeout.
func (s *session) send(ctx context.Context, r request, l *login) (*response, error) {
	target := l.account + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	watch, ctx := newWatch(ctx, s.cfg.StallTimeout)
	if r.writes() {
		ctx = watch.refuse(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, nil)
	if err != nil {
		watch.end()
		return nil, err
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	req.Header.Set("X-Auth-Token", l.token)
	req.Header.Set("User-Agent", "karbor-protection")

	var up *upload
	if r.body != nil {
		if up, err = newUpload(r.body, watch); err != nil {
			watch.end()
			return nil, err
		}
		up.attach(req)
	}
	res, err := s.http.Do(req)
	if err != nil {
		cause := context.Cause(ctx)
		watch.end()
		if bodyErr := up.close(); bodyErr != nil {
			return nil, bodyErr
		}
		if cause != nil {
			return nil, cause
		}
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err // failed adds the method and the URL
		}
		return nil, err
	}
	watch.touch()
	return &response{Response: res, watch: watch, up: up}, nil
}

// response is an answer whose body counts as progress of the request.
type response struct {
	*http.Response
	watch *watch
	up    *upload
}

// finish reads the rest of a short body, so that the connection can be reused, and frees the
// request.
func (r *response) finish() {
	_, _ = io.CopyN(io.Discard, r.Body, 64<<10)
	r.Body.Close()
	_ = r.up.close()
	r.watch.end()
}

// statusError is an answer with an unexpected status.
type statusError struct {
	status      int
	transaction string // X-Trans-Id, for Swift's logs
	again       bool   // another attempt may succeed
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%d %s", e.status, http.StatusText(e.status))
	if e.transaction != "" {
		text += " (txn: " + e.transaction + ")"
	}
	return text
}

func (e *statusError) Is(target error) bool {
	return target == bank.ErrNotFound && e.status == http.StatusNotFound
}

func isStatus(err error, status int) bool {
	var e *statusError
	return errors.As(err, &e) && e.status == status
}

// temporaryStatus reports whether a request with this status is worth a second attempt.
//
// swiftclient: client.py Connection._retry
func temporaryStatus(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests ||
		status == 498 || status >= 500 && status <= 599
}

// maxBackoff bounds the pause between attempts.
//
// swiftclient: client.py Connection max_backoff
const maxBackoff = 64 * time.Second

// do sends the request until it succeeds, with at most the given number of retries. The caller ends
// the response. Errors describe the request.
func (s *session) do(ctx context.Context, r request, retries int) (*response, error) {
	delays, start := wait.Exponential(min(s.cfg.RetryBackoff, maxBackoff), maxBackoff), time.Now()
	var last error // error of the last attempt that did not end because of ctx
	for attempt := 1; ; attempt++ {
		res, err := s.attempt(ctx, r)
		if err == nil {
			return res, nil
		}
		if ctx.Err() != nil {
			return nil, s.failed(r, givenUp(ctx, last))
		}
		if !temporary(err) {
			return nil, s.failed(r, err)
		}
		if attempt > retries {
			if attempt > 1 {
				err = fmt.Errorf("%w, tried %d times in %s", err, attempt, time.Since(start).Round(time.Second/10))
			}
			return nil, s.failed(r, err)
		}
		last = err
		if wait.Sleep(ctx, delays.NextBackOff()) != nil {
			return nil, s.failed(r, givenUp(ctx, last))
		}
	}
}

// givenUp returns the cause of a cancelled context, together with the last error before it.
func givenUp(ctx context.Context, last error) error {
	if last == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w; then %w", last, context.Cause(ctx))
}

// attempt makes one attempt, and logs in again if the token has expired.
func (s *session) attempt(ctx context.Context, r request) (*response, error) {
	l, err := s.login(ctx, nil)
	if err != nil {
		return nil, err
	}
	if r.writes() {
		if err := guard.Allowed(ctx); err != nil {
			return nil, &guard.RefusedError{Cause: err}
		}
	}
	res, err := s.checked(ctx, r, l)
	if !isStatus(err, http.StatusUnauthorized) {
		return res, err
	}
	if l, err = s.login(ctx, l); err != nil {
		return nil, err
	}
	return s.checked(ctx, r, l)
}

func (s *session) checked(ctx context.Context, r request, l *login) (*response, error) {
	res, err := s.send(ctx, r, l)
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 || r.body != nil && res.StatusCode != http.StatusCreated {
		// By 202 or 409 to an upload, the proxy says that by its clock the stored object is newer,
		// and that it has not stored this one.
		older := r.body != nil && (res.StatusCode == http.StatusAccepted || res.StatusCode == http.StatusConflict)
		err := &statusError{res.StatusCode, res.Header.Get("X-Trans-Id"), older || temporaryStatus(res.StatusCode)}
		res.finish()
		return nil, err
	}
	if err := res.up.verify(res.Header.Get("Etag")); err != nil {
		res.finish()
		return nil, err
	}
	return res, nil
}

// temporary reports whether the next attempt may succeed: after all failures of the connection, and
// some answers.
func temporary(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.again
	}
	var auth *authError
	if errors.As(err, &auth) {
		return auth.temporary()
	}
	var body *bodyError
	var refused *guard.RefusedError
	var redirect *httpclient.RedirectError
	return !errors.As(err, &body) && !errors.As(err, &refused) && !errors.As(err, &redirect)
}

// failed words an error as the original does, and adds the request.
//
// karbor: exception.py SwiftConnectionFailed
func (s *session) failed(r request, err error) error {
	var auth *authError
	if errors.As(err, &auth) {
		return fmt.Errorf("Connection to swift failed: %w", err) //nolint:staticcheck // wording of the original
	}
	where := r.path
	select {
	case l := <-s.turn:
		if l != nil {
			where = l.account + r.path
		}
		s.turn <- l
	default:
	}
	return fmt.Errorf("Connection to swift failed: %s %s: %w", r.method, where, err) //nolint:staticcheck // wording of the original
}
