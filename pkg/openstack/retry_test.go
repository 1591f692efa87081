// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

// upload is a body that can be read once.
type upload struct {
	io.Reader
	closed int
}

func (u *upload) Close() error {
	u.closed++
	return nil
}

// An upload waits for its service too, as long as nobody has read of it. The body
// is closed once.
func TestOutageToleranceOfUploads(t *testing.T) {
	t.Parallel()
	refusal := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, tc := range map[string]struct {
		refusals int
		read     bool // by a call that fails
		works    bool
	}{
		"away":              {3, false, true},
		"away for too long": {30, false, false},
		"gone in the midst": {1, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, calls, got := &upload{Reader: strings.NewReader("data")}, 0, ""
			r := &retry{policy: defaultRetryPolicy(), meter: newMetrics().of("glance"), next: roundTripper(func(req *http.Request) (*http.Response, error) {
				defer req.Body.Close()
				calls++
				if calls <= tc.refusals && !tc.read {
					return nil, refusal
				}
				data, err := io.ReadAll(req.Body)
				if got = string(data); calls <= tc.refusals {
					return nil, refusal
				}
				return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, err
			})}
			r.policy.sleep = func(context.Context, time.Duration) error { return nil }
			req, err := http.NewRequestWithContext(WithOutageTolerance(t.Context(), 10*time.Second), http.MethodPut, "http://glance/file", body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := r.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			if (err == nil) != tc.works || tc.works && got != "data" || body.closed != 1 {
				t.Errorf("%d calls, %q came, %v; closed %d times", calls, got, err, body.closed)
			}
		})
	}
}

// What a service could not make because another was away is made when that is back.
func TestRetryCreate(t *testing.T) {
	t.Parallel()
	failure := func(status int) error {
		return fmt.Errorf("create it: %w", gophercloud.ErrUnexpectedResponseCode{Actual: status})
	}
	for name, tc := range map[string]struct {
		failures  int
		err       error
		tolerance time.Duration
		calls     int
		works     bool
	}{
		"away":              {20, failure(http.StatusInternalServerError), time.Hour, 21, true},
		"away for too long": {20, failure(http.StatusBadGateway), time.Second, 3, false},
		"without tolerance": {1, failure(http.StatusInternalServerError), 0, 1, false},
		"refused":           {1, failure(http.StatusConflict), time.Hour, 1, false},
		"something else":    {1, io.ErrUnexpectedEOF, time.Hour, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := defaultRetryPolicy()
			policy.delays.RandomizationFactor = 0
			policy.sleep = func(context.Context, time.Duration) error { return nil }
			calls := 0
			err := retryCreate(WithOutageTolerance(t.Context(), tc.tolerance), policy, func() error {
				if calls++; calls <= tc.failures {
					return tc.err
				}
				return nil
			})
			if (err == nil) != tc.works || calls != tc.calls {
				t.Errorf("%d calls, %v", calls, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(WithOutageTolerance(t.Context(), time.Hour))
	cancel()
	if err := RetryCreate(ctx, func() error { return failure(http.StatusInternalServerError) }); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want what failed", err)
	}
}

// A service that is restarted is waited for, by a POST too as long as nobody has
// taken it.
func TestOutageTolerance(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method    string
		body      string // of the refusals
		refusals  int
		tolerance time.Duration
		calls     int // that reach the service
		works     bool
	}{
		"get, away for long":        {"GET", "", 30, time.Hour, 31, true},
		"get, away for too long":    {"GET", "", 30, 10 * time.Second, 0, false},
		"get, without tolerance":    {"GET", "", 4, 0, 4, false},
		"post, no Keystone":         {"POST", withoutKeystone, 30, time.Hour, 31, true},
		"post, no tolerance needed": {"POST", withoutKeystone, 2, 0, 3, true},
		"post, overloaded":          {"POST", "Overloaded.", 1, time.Hour, 1, false},
		"post, no Glance":           {"POST", withoutGlance + ": refused", 30, time.Hour, 31, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := record(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n <= tc.refusals {
					w.Header().Set("Retry-After", "0")
					status := http.StatusServiceUnavailable
					if strings.HasPrefix(tc.body, withoutGlance) {
						status = http.StatusBadRequest
					}
					w.WriteHeader(status)
					_, _ = io.WriteString(w, tc.body)
				}
			})
			f := New(Config{Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}}, nil)
			t.Cleanup(f.Close)
			f.retry.sleep = func(context.Context, time.Duration) error { return nil }
			client, err := f.Image(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ctx := WithOutageTolerance(t.Context(), tc.tolerance)
			_, err = client.Request(ctx, tc.method, client.ServiceURL("images"), &gophercloud.RequestOpts{
				OkCodes: []int{http.StatusOK}, JSONBody: map[string]string{"a": "b"},
			})
			if (err == nil) != tc.works || tc.calls > 0 && cloud.count() != tc.calls {
				t.Errorf("%d calls, %v", cloud.count(), err)
			}
		})
	}
}

// A POST that found no one to connect to is made again until there is someone.
func TestPostWaitsForTheService(t *testing.T) {
	t.Parallel()
	taken := make(chan string, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		taken <- string(body)
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()

	f := New(Config{Services: map[string]ServiceConfig{"glance": {Endpoint: "http://" + address}}}, nil)
	t.Cleanup(f.Close)
	attempts := 0
	f.retry.sleep = func(context.Context, time.Duration) error {
		if attempts++; attempts != 10 {
			return nil
		}
		again, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { _ = server.Serve(again) }()
		t.Cleanup(func() { _ = server.Close() })
		return nil
	}
	client, err := f.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Post(WithOutageTolerance(t.Context(), time.Hour), client.ServiceURL("images"), map[string]string{"a": "b"}, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-taken; got != `{"a":"b"}` {
		t.Errorf("body is %s", got)
	}
}
