// SPDX-License-Identifier: Apache-2.0

package httpclient_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/pkg/httpclient"
)

// TestRedirects tries every status that redirects, with every method, to the same
// server and to another one. The token may only ever be seen by the first.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var strangers atomic.Int64
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	t.Cleanup(stranger.Close)
	var moved atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			moved.Add(1)
			return
		}
		to := r.URL.Query().Get("to")
		status := http.StatusTemporaryRedirect
		_, _ = fmt.Sscan(r.URL.Query().Get("status"), &status)
		http.Redirect(w, r, to, status)
	}))
	t.Cleanup(server.Close)
	client := httpclient.New(http.DefaultTransport)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			for _, to := range []string{server.URL + "/moved", "/moved", stranger.URL + "/moved", strings.Replace(server.URL, "http:", "https:", 1)} {
				follows := (method == "GET" || method == "HEAD") && strings.HasSuffix(strings.TrimPrefix(to, server.URL), "/moved") && !strings.HasPrefix(to, stranger.URL)
				t.Run(fmt.Sprint(status, method, to), func(t *testing.T) {
					before := moved.Load()
					req, err := http.NewRequestWithContext(t.Context(), method,
						server.URL+"/?"+url.Values{"to": {to}, "status": {fmt.Sprint(status)}}.Encode(), strings.NewReader("secret"))
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("X-Auth-Token", "secret")
					resp, err := client.Do(req)
					if err == nil {
						resp.Body.Close()
					}
					var refused *httpclient.RedirectError
					switch {
					case follows && (err != nil || moved.Load() != before+1):
						t.Errorf("a request that reads was not taken to its own server: %v", err)
					case !follows && !errors.As(err, &refused):
						t.Errorf("followed, or failed otherwise: %v", err)
					case !follows && moved.Load() != before:
						t.Error("a request that changes something was sent to another URL")
					}
				})
			}
		}
	}
	if n := strangers.Load(); n != 0 {
		t.Errorf("another server got %d requests", n)
	}
}

func TestRedirectLoopEnds(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, "/again", http.StatusFound)
	}))
	t.Cleanup(server.Close)
	client := httpclient.New(http.DefaultTransport)
	resp, err := client.Get(server.URL)
	if err == nil {
		resp.Body.Close()
		t.Fatal("a loop of redirects ended well")
	}
	if n := requests.Load(); n > 10 {
		t.Errorf("%d requests", n)
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://cinder/v3":             "http://cinder:80",
		"https://Cinder.Example/v3/p":  "https://cinder.example:443",
		"http://cinder:8776@other/v3":  "http://other:80",
		"http://[::1]:8776/v3":         "http://[::1]:8776",
		"http://user:pw@cinder:8776/x": "http://cinder:8776",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := httpclient.Origin(u); got != want {
			t.Errorf("origin of %s is %s, not %s", text, got, want)
		}
	}
}
