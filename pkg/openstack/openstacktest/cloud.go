// SPDX-License-Identifier: Apache-2.0

// Package openstacktest is a cloud for tests: an HTTP server with answers set by the
// test, and clients for that server.
package openstacktest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// The caller of a test, and the paths below which the services answer.
const (
	Project = "11111111111111111111111111111111"
	Token   = "user-token"

	Nova    = "/nova/" + Project
	Cinder  = "/cinder/" + Project
	Glance  = "/glance/v2"
	Neutron = "/neutron/v2.0"
	Manila  = "/manila/" + Project
	Trove   = "/trove/" + Project
)

// Cloud answers requests by patterns of http.ServeMux and records them. A request
// without a pattern is answered with 404.
type Cloud struct {
	*openstack.Factory
	URL string

	mux      *http.ServeMux
	services map[string]openstack.ServiceConfig
	mu       sync.Mutex
	calls    []Call
}

// Call is one request that a Cloud received.
type Call struct {
	Method, Path, Query string
	Header              http.Header
	Body                string // empty for image data
}

// New starts a cloud that ends with the test.
func New(t testing.TB) *Cloud {
	t.Helper()
	c := &Cloud{mux: http.NewServeMux()}
	server := httptest.NewServer(http.HandlerFunc(c.serve))
	c.URL = server.URL
	c.services = map[string]openstack.ServiceConfig{}
	for _, name := range []string{"nova", "cinder", "glance", "neutron", "manila", "trove", "freezer"} {
		c.services[name] = openstack.ServiceConfig{Endpoint: server.URL + "/" + name}
	}
	c.Factory = openstack.New(openstack.Config{Services: c.services}, nil)
	t.Cleanup(func() {
		c.Factory.Close()
		server.Close()
	})
	return c
}

// SetMicroversion makes the clients of a service ask for a microversion, as option
// microversion does. It affects only clients that are created later.
func (c *Cloud) SetMicroversion(service, version string) {
	c.Factory.Close()
	cfg := c.services[service]
	cfg.Microversion = version
	c.services[service] = cfg
	c.Factory = openstack.New(openstack.Config{Services: c.services}, nil)
}

// Minor returns the second number of the microversion that a call of Nova asks for.
func Minor(r *http.Request) int {
	_, minor, _ := strings.Cut(r.Header.Get("X-OpenStack-Nova-API-Version"), ".")
	n, err := strconv.Atoi(minor)
	if err != nil {
		return 1 // Nova's default
	}
	return n
}

func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	call := Call{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone()}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		body, _ := io.ReadAll(r.Body)
		call.Body = string(body)
		r.Body = io.NopCloser(strings.NewReader(call.Body))
	}
	c.mu.Lock()
	c.calls = append(c.calls, call)
	c.mu.Unlock()
	c.mux.ServeHTTP(w, r)
}

// Handle answers a pattern such as "GET /glance/v2/images".
func (c *Cloud) Handle(pattern string, h http.HandlerFunc) { c.mux.HandleFunc(pattern, h) }

// Answer always gives the same JSON answer to a pattern.
func (c *Cloud) Answer(pattern string, status int, body string) {
	c.Handle(pattern, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// Sequence answers a pattern with one body after the other and then repeats the last
// one.
func (c *Cloud) Sequence(pattern string, bodies ...string) {
	var mu sync.Mutex
	c.Handle(pattern, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		body := bodies[0]
		if len(bodies) > 1 {
			bodies = bodies[1:]
		}
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
}

// Calls returns the requests so far whose method and path begin with prefix,
// such as "DELETE /glance".
func (c *Cloud) Calls(prefix string) []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.calls), func(call Call) bool {
		return !strings.HasPrefix(call.Method+" "+call.Path, prefix)
	})
}

// Context returns a context with a caller that has a token, in Project.
func Context(t testing.TB) context.Context {
	return requestcontext.New(t.Context(), &requestcontext.RequestContext{
		UserID:        "user",
		ProjectID:     Project,
		ProjectName:   "demo",
		AuthToken:     Token,
		AuthTokenInfo: json.RawMessage(`{"token": {}}`),
		RequestID:     "req-00000000-0000-4000-8000-000000000000",
	})
}
