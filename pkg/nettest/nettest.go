// SPDX-License-Identifier: Apache-2.0

// Package nettest is a network in memory. A goroutine that waits for it is durably
// blocked, as testing/synctest wants, which one that waits for a socket is not: clients
// and servers of HTTP can be tested with fake time.
package nettest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Listener is the one server of a network.
type Listener struct {
	arrived chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Listen makes a network.
func Listen() *Listener {
	return &Listener{arrived: make(chan net.Conn), closed: make(chan struct{})}
}

// Serve makes a network whose server has that handler. The server ends with the test.
func Serve(t testing.TB, handler http.Handler) (*httptest.Server, *Listener) {
	l := Listen()
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	s.Start()
	t.Cleanup(s.Close)
	return s, l
}

// Dial connects with the server. It has the signature of http.Transport's DialContext.
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

// address is the server's.
type address struct{}

func (address) Network() string { return "memory" }
func (address) String() string  { return "memory.test" }
