// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c := New(kubernetes.Config{Host: server.URL + "/"})
	t.Cleanup(c.Close)
	return c
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text)
}

func TestPods(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/default/pods" || r.URL.Query().Get("limit") != "500" {
			t.Errorf("asked for %s", r.URL)
		}
		if r.URL.Query().Get("continue") == "" {
			answer(w, 200, `{"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}, "new": 1}]}`)
			return
		}
		answer(w, 200, `{"metadata": {}, "items": [{"metadata": {"name": "b"}, "status": {"phase": "Running"}}]}`)
	})
	pods, err := c.Pods(t.Context(), "default")
	if err != nil || len(pods) != 2 || pods[1].Metadata.Name != "b" || pods[1].Status.Phase != "Running" {
		t.Fatalf("got %v, %v", pods, err)
	}
	if want := `{"metadata": {"name": "a"}, "new": 1}`; string(pods[0].Raw) != want {
		t.Errorf("kept %s", pods[0].Raw)
	}
}

// Names are parts of a path: what is none is not sent, and no namespace is not all of them.
func TestNames(t *testing.T) {
	t.Parallel()
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	for _, at := range [][2]string{{"default", ".."}, {"default", "a/b"}, {"default", ""}, {"..", "a"}, {"", "a"}} {
		if _, err := c.Pod(t.Context(), at[0], at[1]); err == nil {
			t.Errorf("%q: no error", at)
		}
	}
	if _, err := c.Pods(t.Context(), ""); err == nil {
		t.Error("no namespace: no error")
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status             int
		body, want         string
		missing, transient bool
	}{
		"status object": {403, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "pods is forbidden", "code": 403}`, "get /api/v1/namespaces/default/pods/x: pods is forbidden (HTTP 403)", false, false},
		"no body":       {500, ``, "(HTTP 500)", false, true},
		"not found":     {404, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "pods \"x\" not found", "reason": "NotFound", "code": 404}`, `get /api/v1/namespaces/default/pods/x: pods "x" not found (HTTP 404)`, true, false},
		"too old":       {410, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "expired", "reason": "Expired", "code": 410}`, "expired (HTTP 410)", false, true},
		"no status":     {404, `<html>`, "(HTTP 404)", true, false},
		"no JSON":       {200, `<html>`, "get /api/v1/namespaces/default/pods/x: invalid character", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, tc.status, tc.body) })
			_, err := c.Pod(t.Context(), "default", "x")
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, kubernetes.ErrNotFound) != tc.missing || kubernetes.IsTransient(err) != tc.transient {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c := New(kubernetes.Config{Host: server.URL})
	if _, err := c.Pod(t.Context(), "default", "x"); !kubernetes.IsTransient(err) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := c.Pod(ended, "default", "x"); !errors.Is(err, context.Canceled) || kubernetes.IsTransient(err) {
		t.Errorf("got %v", err)
	}
}

// A server that asks to come back later is asked again, with the same body.
func TestLater(t *testing.T) {
	t.Parallel()
	asked := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if body, _ := io.ReadAll(r.Body); string(body) != `{"kind":"Pod"}` || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("sent %s as %s", body, r.Header.Get("Content-Type"))
		}
		if asked < 3 {
			w.Header().Set("Retry-After", "0")
			answer(w, http.StatusTooManyRequests, `{}`)
			return
		}
		fmt.Fprint(w, `{"metadata": {"name": "web"}}`)
	})
	pod, err := c.CreatePod(t.Context(), "default", map[string]string{"kind": "Pod"})
	if err != nil || pod.Metadata.Name != "web" || asked != 3 {
		t.Errorf("got %v, %v after %d", pod, err, asked)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		const want = `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"u-1"}}`
		if body, _ := io.ReadAll(r.Body); strings.TrimSpace(string(body)) != want {
			t.Errorf("sent %s", body)
		}
		answer(w, 200, `{"kind": "Status", "apiVersion": "v1", "status": "Success"}`)
	})
	if err := c.DeletePod(t.Context(), "default", "web", "u-1"); err != nil {
		t.Error(err)
	}
}
