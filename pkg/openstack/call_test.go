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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/wait"
)

func glanceAt(t *testing.T, url string) (*Factory, *gophercloud.ServiceClient) {
	t.Helper()
	f := factory(t, Config{Services: map[string]ServiceConfig{"glance": {Endpoint: url, MaxCalls: 2}}})
	client, err := f.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f, client
}

func TestRetry(t *testing.T) {
	t.Parallel()
	const asked = "7"
	for name, tc := range map[string]struct {
		method string
		stream bool
		status int
		after  string // Retry-After
		calls  int
	}{
		"get 503":                {"GET", false, 503, asked, 3},
		"get 500":                {"GET", false, 500, "", 3},
		"get 502":                {"GET", false, 502, "", 3},
		"get 504":                {"GET", false, 504, "", 3},
		"get 501":                {"GET", false, 501, "", 1},
		"get 404":                {"GET", false, 404, asked, 1},
		"head 429":               {"HEAD", false, 429, "", 3},
		"delete 429":             {"DELETE", false, 429, asked, 3},
		"put 503":                {"PUT", false, 503, asked, 3},
		"put of a stream":        {"PUT", true, 503, asked, 1},
		"post 503":               {"POST", false, 503, asked, 1},
		"post 500":               {"POST", false, 500, "", 1},
		"post 429":               {"POST", false, 429, asked, 3},
		"post of a stream, 429":  {"POST", true, 429, asked, 1},
		"post 413, wait":         {"POST", false, 413, asked, 3},
		"post 413, quota":        {"POST", false, 413, "0", 1},
		"get 413, no end":        {"GET", false, 413, "", 1},
		"delete 409":             {"DELETE", false, 409, "", 1},
		"put 409":                {"PUT", false, 409, "", 1},
		"put 409 for a while":    {"PUT", false, 409, asked, 3},
		"post 409":               {"POST", false, 409, asked, 1},
		"get 409 without an end": {"GET", false, 409, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := record(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n < 3 {
					if tc.after != "" {
						w.Header().Set("Retry-After", tc.after)
					}
					w.WriteHeader(tc.status)
				}
			})
			f := New(Config{Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}}, nil)
			t.Cleanup(f.Close)
			waits := []time.Duration{}
			f.retry.sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
			f.retry.delays.RandomizationFactor = 0
			client, err := f.Image(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			opts := &gophercloud.RequestOpts{OkCodes: []int{200}, JSONBody: map[string]string{"a": "b"}}
			if tc.stream {
				opts.JSONBody, opts.RawBody = nil, io.MultiReader(strings.NewReader("data"))
			}
			_, err = client.Request(t.Context(), tc.method, client.ServiceURL("images"), opts)
			if (err == nil) != (tc.calls == 3) || cloud.count() != tc.calls {
				t.Errorf("%d calls, %v", cloud.count(), err)
			}
			want := []time.Duration{500 * time.Millisecond, time.Second}
			if tc.after == asked {
				want = []time.Duration{7 * time.Second, 7 * time.Second}
			}
			if diff := cmp.Diff(want[:len(waits)], waits); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
			for _, body := range cloud.bodies {
				if !tc.stream && body != `{"a":"b"}` {
					t.Errorf("body is %q", body)
				}
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	delays := defaultRetryPolicy().delays
	first := delays.InitialInterval
	date := time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat)
	for text, want := range map[string][2]time.Duration{
		"3": {3 * time.Second, 3 * time.Second}, "0": {0, 0}, "86400": {delays.MaxInterval, delays.MaxInterval},
		date: {15 * time.Second, 20 * time.Second}, "Thu, 01 Jan 1970 00:00:00 GMT": {0, 0},
		"soon": {first / 2, 2 * first}, "-1": {first / 2, 2 * first},
	} {
		delays.Reset()
		got := nextDelay(&delays, &http.Response{Header: http.Header{"Retry-After": {text}}})
		if got < want[0] || got > want[1] {
			t.Errorf("%q: %s, want %v", text, got, want)
		}
	}
}

// A connection that breaks is no reason to make something twice.
func TestRetryOfBrokenConnections(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]int{"GET": 2, "DELETE": 2, "PUT": 2, "POST": 1} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			cloud := record(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n > 1 {
					return
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.(*net.TCPConn).SetLinger(0) // a reset, not an end
				_ = conn.Close()
			})
			_, client := glanceAt(t, cloud.URL)
			_, err := client.Request(t.Context(), method, client.ServiceURL("images"), &gophercloud.RequestOpts{OkCodes: []int{200}, JSONBody: "x"})
			if (err == nil) != (want == 2) || cloud.count() != want {
				t.Errorf("%d calls, %v", cloud.count(), err)
			}
		})
	}
}

// What nobody took can be sent again, whatever it is.
func TestRetryOfRefusedConnections(t *testing.T) {
	t.Parallel()
	cloud := record(t, func(int, http.ResponseWriter, *http.Request) {})
	f, client := glanceAt(t, cloud.URL)
	attempts := 0
	pool, err := f.transports.get("", false)
	if err != nil {
		t.Fatal(err)
	}
	pool.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if attempts++; attempts == 1 {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	if _, err := client.Post(t.Context(), client.ServiceURL("images"), "x", nil, &gophercloud.RequestOpts{OkCodes: []int{200}}); err != nil {
		t.Error(err)
	}
	if attempts != 2 || cloud.count() != 1 {
		t.Errorf("%d connections, %d calls", attempts, cloud.count())
	}
}

func TestRetryStopsWithTheContext(t *testing.T) {
	t.Parallel()
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	f := New(Config{Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}}, nil)
	t.Cleanup(f.Close)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	f.retry.sleep = func(ctx context.Context, _ time.Duration) error {
		cancel(stop)
		return wait.Sleep(ctx, time.Hour)
	}
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := List[struct{}](ctx, client, "images", "images", nil); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if cloud.count() != 1 {
		t.Errorf("%d calls", cloud.count())
	}
}

func TestCallsAreBounded(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int32
	release := make(chan struct{})
	full := make(chan struct{}, 8)
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		n := running.Add(1)
		for {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		full <- struct{}{}
		<-release
		running.Add(-1)
		_, _ = io.WriteString(w, `{"images": []}`)
	})
	_, client := glanceAt(t, cloud.URL)
	done := make(chan error, 6)
	for range 6 {
		go func() {
			_, err := List[struct{}](t.Context(), client, "images", "images", nil)
			done <- err
		}()
	}
	<-full
	<-full
	close(release)
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 2 {
		t.Errorf("%d calls at the same time", most.Load())
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	type item struct {
		ID string `json:"id"`
	}
	for name, links := range map[string]string{
		"glance": `"next": "/v2/images?marker=b"`,
		"nova":   `"images_links": [{"rel": "next", "href": "http://wrong.example/v2.1/images?marker=b"}]`,
		"trove":  `"links": [{"rel": "self", "href": "x"}, {"rel": "next", "href": "https://wrong.example/?marker=b"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := record(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("marker") == "b" {
					_, _ = io.WriteString(w, `{"images": [{"id": "c"}]}`)
					return
				}
				fmt.Fprintf(w, `{"images": [{"id": "a"}, {"id": "b"}], %s}`, links)
			})
			_, client := glanceAt(t, cloud.URL)
			got, err := List[item](t.Context(), client, "images", "images", nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]item{{"a"}, {"b"}, {"c"}}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestListEndsThoughTheLinksDoNot(t *testing.T) {
	t.Parallel()
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"images": [{"id": "a"}], "next": "/v2/images?marker=a"}`)
	})
	_, client := glanceAt(t, cloud.URL)
	if _, err := List[struct{}](t.Context(), client, "images", "images", nil); err == nil || cloud.count() != 2 {
		t.Errorf("%d calls, %v", cloud.count(), err)
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status     int
		body, want string
	}{
		"nova":      {404, `{"itemNotFound": {"message": "Instance x could not be found.", "code": 404}}`, "Instance x could not be found. (HTTP 404)"},
		"webob":     {404, `{"message": "No image found with ID x<br /><br />\n\n\n", "code": "404 Not Found"}`, "No image found with ID x (HTTP 404)"},
		"flat":      {400, `{"message": "bad"}`, "bad (HTTP 400)"},
		"glance":    {404, "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n  No image found with ID x<br /><br />\n\n\n </body>\n</html>", "No image found with ID x (HTTP 404)"},
		"no body":   {500, ``, "Internal Server Error (HTTP 500)"},
		"odd shape": {500, `{"a": 1}`, "Internal Server Error (HTTP 500)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			_, client := glanceAt(t, cloud.URL)
			_, err := Show[struct{}](t.Context(), client, "images", "x", "")
			if got := Reason(err); got != tc.want {
				t.Errorf("got %q, not %q", got, tc.want)
			}
			if IsNotFound(err) != (tc.status == 404) || IsTransient(err) != (tc.status == 500) {
				t.Errorf("not found %v, transient %v", IsNotFound(err), IsTransient(err))
			}
		})
	}
}

func TestReasonHidesTheAddress(t *testing.T) {
	t.Parallel()
	_, client := glanceAt(t, "http://127.0.0.1:1")
	_, err := Show[struct{}](t.Context(), client, "images", "x", "")
	if got := Reason(err); !strings.HasPrefix(got, "Unable to establish connection: ") || strings.Contains(got, "/v2/") {
		t.Errorf("got %q", got)
	}
	if !IsTransient(err) {
		t.Errorf("%v is not transient", err)
	}
}
