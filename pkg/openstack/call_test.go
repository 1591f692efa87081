// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
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
	for name, tc := range map[string]struct {
		method string
		stream bool
		status int
		calls  int
	}{
		"get 503":           {"GET", false, 503, 3},
		"delete 429":        {"DELETE", false, 429, 3},
		"put 503":           {"PUT", false, 503, 3},
		"put of a stream":   {"PUT", true, 503, 1},
		"post 503":          {"POST", false, 503, 1},
		"get 500":           {"GET", false, 500, 1},
		"get 404":           {"GET", false, 404, 1},
		"get 409, no retry": {"GET", false, 409, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := record(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n < 3 {
					w.Header().Set("Retry-After", "7")
					w.WriteHeader(tc.status)
				}
			})
			f := New(Config{Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}}, nil)
			t.Cleanup(f.Close)
			var waits []time.Duration
			f.retry.sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
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
			for i, d := range waits {
				if d != 7*time.Second {
					t.Errorf("wait %d is %s, not what the server asked for", i, d)
				}
			}
			for _, body := range cloud.bodies {
				if !tc.stream && body != `{"a":"b"}` {
					t.Errorf("body is %q", body)
				}
			}
		})
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
		return sleep(ctx, time.Hour)
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
