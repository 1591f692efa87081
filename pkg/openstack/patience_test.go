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

// What a service could not make because another was away is made when that is back.
func TestInsist(t *testing.T) {
	t.Parallel()
	failure := func(status int) error {
		return fmt.Errorf("create it: %w", gophercloud.ErrUnexpectedResponseCode{Actual: status})
	}
	for name, tc := range map[string]struct {
		failures int
		err      error
		patience time.Duration
		calls    int
		works    bool
	}{
		"away":              {20, failure(http.StatusInternalServerError), time.Hour, 21, true},
		"away for too long": {20, failure(http.StatusBadGateway), time.Second, 3, false},
		"without patience":  {1, failure(http.StatusInternalServerError), 0, 1, false},
		"refused":           {1, failure(http.StatusConflict), time.Hour, 1, false},
		"something else":    {1, io.ErrUnexpectedEOF, time.Hour, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := defaultRetryPolicy()
			policy.jitter = func(d time.Duration) time.Duration { return d }
			policy.sleep = func(context.Context, time.Duration) error { return nil }
			calls := 0
			err := insist(WithPatience(t.Context(), tc.patience), policy, func() error {
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
	ctx, cancel := context.WithCancel(WithPatience(t.Context(), time.Hour))
	cancel()
	if err := Insist(ctx, func() error { return failure(http.StatusInternalServerError) }); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want what failed", err)
	}
}

// A service that is restarted is waited for, by a POST too as long as nobody has
// taken it.
func TestPatience(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method   string
		body     string // of the refusals
		refusals int
		patience time.Duration
		calls    int // that reach the service
		works    bool
	}{
		"get, away for long":       {"GET", "", 30, time.Hour, 31, true},
		"get, away for too long":   {"GET", "", 30, 10 * time.Second, 0, false},
		"get, without patience":    {"GET", "", 4, 0, 4, false},
		"post, no Keystone":        {"POST", withoutKeystone, 30, time.Hour, 31, true},
		"post, no patience needed": {"POST", withoutKeystone, 2, 0, 3, true},
		"post, overloaded":         {"POST", "Overloaded.", 1, time.Hour, 1, false},
		"post, no Glance":          {"POST", withoutGlance + ": refused", 30, time.Hour, 31, true},
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
			ctx := WithPatience(t.Context(), tc.patience)
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
	_, err = client.Post(WithPatience(t.Context(), time.Hour), client.ServiceURL("images"), map[string]string{"a": "b"}, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-taken; got != `{"a":"b"}` {
		t.Errorf("body is %s", got)
	}
}
