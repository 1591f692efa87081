// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// gate stands between a worker and Glance. It can hold downloads of image data,
// which makes a protection as slow as a test wants, and damage them.
type gate struct {
	server *httptest.Server
	held   chan string // the paths of downloads as they arrive, while it is shut

	mu      sync.Mutex
	release chan struct{} // downloads wait for its closing; nil: they do not
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
		if download(r) && !g.pass(r.Context(), r.URL.Path) {
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

func download(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/file")
}

// pass waits at the gate. It is false when the client has given up.
func (g *gate) pass(ctx context.Context, path string) bool {
	g.mu.Lock()
	release := g.release
	g.mu.Unlock()
	if release == nil {
		return true
	}
	g.held <- path
	select {
	case <-release:
		return true
	case <-ctx.Done():
		return false
	}
}

// shut makes downloads wait from now on.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.release = make(chan struct{})
}

// open lets all downloads go.
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
