// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// gate stands between a worker and Glance. It can hold image data on their way,
// which makes a protection or a restore as slow as a test wants, and damage
// downloads.
type gate struct {
	server *httptest.Server
	held   chan string // the paths of what it holds, as it arrives

	mu      sync.Mutex
	method  string        // of what it holds: GET for downloads, PUT for uploads
	release chan struct{} // that waits for its closing; nil: nothing does
	damage  bool
}

func newGate(t testing.TB, glance string) *gate {
	t.Helper()
	backend, err := url.Parse(glance)
	must(t, err)
	transport := &http.Transport{}
	g := &gate{held: make(chan string, 64)}
	forward := &httputil.ReverseProxy{
		Transport:      transport,
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		ModifyResponse: g.spoil,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	g.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.pass(r) {
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		g.open()
		g.server.CloseClientConnections()
		g.server.Close()
		transport.CloseIdleConnections()
	})
	return g
}

func download(r *http.Request) bool { return r.Method == http.MethodGet && ofData(r) }

func ofData(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/file") }

// pass waits at the gate. It is false when the client has given up.
func (g *gate) pass(r *http.Request) bool {
	g.mu.Lock()
	release, method := g.release, g.method
	g.mu.Unlock()
	if release == nil || !ofData(r) || r.Method != method {
		return true
	}
	g.held <- r.URL.Path
	select {
	case <-release:
		return true
	case <-r.Context().Done():
		return false
	}
}

// shut makes downloads wait from now on.
func (g *gate) shut() { g.shutFor(http.MethodGet) }

// shutFor makes downloads (GET) or uploads (PUT) wait from now on.
func (g *gate) shutFor(method string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.method, g.release = method, make(chan struct{})
}

// open lets everything go.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.release != nil {
		close(g.release)
		g.release = nil
	}
}

// spoil changes the first bytes of a download if that is wanted.
func (g *gate) spoil(resp *http.Response) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.damage || !download(resp.Request) {
		return nil
	}
	first := make([]byte, 16)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		return err
	}
	for i := range first {
		first[i] ^= 0xff
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(first), resp.Body), resp.Body}
	return nil
}

// useGate puts a gate between the site's workers and Glance.
func (s *site) useGate(u *user) *gate {
	s.t.Helper()
	g := newGate(s.t, strings.TrimSuffix(u.glance.Endpoint, "/"))
	s.conf.set("glance_client", "glance_endpoint", g.server.URL)
	return g
}
