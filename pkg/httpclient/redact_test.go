// SPDX-License-Identifier: Apache-2.0

package httpclient_test

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/httpclient"
)

// secret needs another form in JSON, HTML and URLs.
const secret = `S3"<c>r&t/é+x`

// An error that repeats the request, in any of the usual forms, repeats no secret of
// it, and what else it tells stays.
func TestErrorsRepeatNoSecret(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		quoted, _ := json.Marshal(fmt.Sprint(r.Header, string(body)))
		var echo strings.Builder
		fmt.Fprintf(&echo, "no quota for you: %v %s %s %s %s", r.Header, body, html.EscapeString(secret), url.QueryEscape(secret), quoted)
		for _, values := range r.Header {
			for _, value := range values {
				w.Header().Add("X-Echo", value)
				echo.WriteString(value)
			}
		}
		status := http.StatusOK
		_, _ = fmt.Sscan(r.URL.Query().Get("status"), &status)
		w.WriteHeader(status)
		for _, piece := range strings.SplitAfter(echo.String(), "S3") { // a secret in two pieces
			_, _ = io.WriteString(w, piece)
			w.(http.Flusher).Flush()
		}
	}))
	t.Cleanup(server.Close)
	client := httpclient.New(http.DefaultTransport)
	text, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ header, body string }{
		"caller's token":     {"X-Auth-Token", ""},
		"service's token":    {"X-Service-Token", ""},
		"checked token":      {"X-Subject-Token", ""},
		"basic":              {"Authorization", ""},
		"login by password":  {"", `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "n", "password": ` + string(text) + `}}}}}`},
		"login by token":     {"", `{"auth": {"identity": {"methods": ["token"], "token": {"id": ` + string(text) + `}}}}`},
		"login by a secret":  {"", `{"auth": {"identity": {"application_credential": {"id": "i", "secret": ` + string(text) + `}}}}`},
		"a server's":         {"", `{"server": {"name": "n", "adminPass": ` + string(text) + `}}`},
		"a database's users": {"", `{"instance": {"users": [{"name": "n", "password": ` + string(text) + `}]}}`},
	} {
		for _, status := range []int{200, 400, 401, 403, 404, 409, 413, 500, 503} {
			t.Run(fmt.Sprint(name, status), func(t *testing.T) {
				t.Parallel()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprint(server.URL, "/?status=", status), strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				if c.header != "" {
					req.Header.Set(c.header, secret)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				all := fmt.Sprint(string(body), resp.Header, resp.Status)
				if leaks := strings.Contains(all, "S3"); leaks != (status == 200) {
					t.Errorf("secrets are told: %v: %s", leaks, all)
				}
				if !strings.Contains(all, "no quota for you") {
					t.Errorf("the reason is gone: %s", all)
				}
			})
		}
	}
}

// Clients hold the body of an error whole.
func TestErrorsHaveABound(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		for range 1 << 10 {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<10))
		}
	}))
	t.Cleanup(server.Close)
	client := httpclient.New(http.DefaultTransport)
	resp, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 64<<10 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}
