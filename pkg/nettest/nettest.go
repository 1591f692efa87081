// SPDX-License-Identifier: Apache-2.0

// Package nettest is an in-memory network. A goroutine that waits for it is durably
// blocked in the sense of testing/synctest, unlike a goroutine that waits for a socket,
// so HTTP clients and servers can be tested with fake time.
package nettest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Listener is the only server of a network.
type Listener struct {
	arrived chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Listen returns the listener of a new network.
func Listen() *Listener {
	return &Listener{arrived: make(chan net.Conn), closed: make(chan struct{})}
}

// Serve starts a server with the handler on a new network. The server ends with the
// test.
func Serve(t testing.TB, handler http.Handler) (*httptest.Server, *Listener) {
	l := Listen()
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	s.Start()
	t.Cleanup(s.Close)
	return s, l
}

// Dial connects to the server. It has the signature of http.Transport's DialContext.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.arrived <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.arrived:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (*Listener) Addr() net.Addr { return address{} }

// address is the address of the server.
type address struct{}

func (address) Network() string { return "memory" }
func (address) String() string  { return "memory.test" }
