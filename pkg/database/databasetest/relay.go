// SPDX-License-Identifier: Apache-2.0

// Package databasetest breaks the connection to a database, for tests of code that has to
// survive such a break.
package databasetest

import (
	"bytes"
	"cmp"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Relay stands between a test and a database server. While it is down, nothing listens
// and existing connections are closed.
type Relay struct {
	t        testing.TB
	upstream string
	address  string
	wg       sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
	lose     []byte // what a statement begins with whose answer gets lost
	lost     int
}

// NewRelay starts a relay that ends with the test, and returns the SQLAlchemy URL of
// the database through the relay.
func NewRelay(t testing.TB, databaseURL string) (*Relay, string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	backend, _, _ := strings.Cut(u.Scheme, "+")
	port := map[string]string{"mysql": "3306", "postgresql": "5432"}[backend]
	r := &Relay{
		t: t, upstream: net.JoinHostPort(cmp.Or(u.Hostname(), "localhost"), cmp.Or(u.Port(), port)),
		address: "127.0.0.1:0", open: map[net.Conn]bool{},
	}
	r.Up()
	r.address = r.listener.Addr().String()
	t.Cleanup(func() { r.Down(); r.wg.Wait() })
	u.Host = r.address
	return r, u.String()
}

// Up starts listening.
func (r *Relay) Up() {
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Error(err)
		return
	}
	r.mu.Lock()
	r.listener = listener
	r.mu.Unlock()
	r.wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(client) })
		}
	})
}

// Down stops listening and closes the connections.
func (r *Relay) Down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.listener.Close()
	r.cut()
}

// Cut closes the existing connections; new ones can be made.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut()
}

func (r *Relay) cut() {
	for c := range r.open {
		_ = c.Close()
		delete(r.open, c)
	}
}

// LoseAnswer lets the next statement with that text, in any case, reach the server and
// be executed, and closes its connection instead of answering.
func (r *Relay) LoseAnswer(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose = []byte(strings.ToLower(text))
}

// Lost returns the number of lost answers.
func (r *Relay) Lost() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

func (r *Relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.open[client], r.open[server] = true, true
	r.mu.Unlock()
	deaf := make(chan struct{}) // closed before the statement whose answer gets lost
	r.wg.Go(func() {
		defer server.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := client.Read(buffer)
			if r.losing(buffer[:n]) {
				close(deaf)
				_, _ = server.Write(buffer[:n])
				_, _ = client.Read(buffer) // until it is cut
				return
			}
			if _, writeErr := server.Write(buffer[:n]); err != nil || writeErr != nil {
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		select {
		case <-deaf: // this was the answer
			err = net.ErrClosed
		default:
			if _, writeErr := client.Write(buffer[:n]); writeErr != nil {
				err = writeErr
			}
		}
		if err != nil {
			break
		}
	}
	r.mu.Lock()
	delete(r.open, client)
	delete(r.open, server)
	r.mu.Unlock()
}

func (r *Relay) losing(data []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lose == nil || !bytes.Contains(bytes.ToLower(data), r.lose) {
		return false
	}
	r.lose = nil
	r.lost++
	return true
}
