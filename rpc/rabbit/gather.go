// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// gatherLimit is the number of bytes that wait to be written before publishers are
// held up.
const gatherLimit = 256 << 10

// gatherer is a connection whose writes are gathered while an earlier one is on
// its way, so that many small messages leave in one packet. That is for the
// publishing connection alone, where a confirm tells whether a message has
// arrived: a write that has returned need not have left. A write never waits, because
// the library holds locks over it; publishers wait for room before.
type gatherer struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	gate    chan struct{} // closed while there is room
	err     error
	closed  bool
	done    chan struct{} // closed when the writing goroutine has ended

	full atomic.Bool // the gate is shut
}

func newGatherer(c net.Conn) *gatherer {
	g := &gatherer{Conn: c, gate: make(chan struct{}), done: make(chan struct{})}
	g.changed.L = &g.mu
	close(g.gate)
	go g.run()
	return g
}

// room waits until another message may be written.
func (g *gatherer) room(ctx context.Context) error {
	for g.full.Load() {
		g.mu.Lock()
		gate := g.gate
		g.mu.Unlock()
		select {
		case <-gate:
		case <-g.done:
			return net.ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("waiting for the broker to read: %w", ctx.Err())
		}
	}
	return nil
}

// Write implements net.Conn. It keeps nothing of p and reports the error of an
// earlier write.
func (g *gatherer) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.err != nil:
		return 0, g.err
	case g.closed:
		return 0, net.ErrClosed
	}
	g.waiting = append(g.waiting, p...)
	if len(g.waiting) > gatherLimit && !g.full.Load() {
		g.gate = make(chan struct{})
		g.full.Store(true)
	}
	g.changed.Signal()
	return len(p), nil
}

func (g *gatherer) run() {
	defer close(g.done)
	var spare []byte
	for {
		g.mu.Lock()
		for len(g.waiting) == 0 && !g.closed {
			g.changed.Wait()
		}
		batch := g.waiting
		g.waiting = spare[:0]
		if g.full.Load() {
			g.full.Store(false)
			close(g.gate)
		}
		g.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		if _, err := g.Conn.Write(batch); err != nil {
			g.mu.Lock()
			g.err = err
			g.mu.Unlock()
			return
		}
		if cap(batch) > 2*gatherLimit {
			batch = nil // big messages are rare
		}
		spare = batch
	}
}

// Close implements net.Conn. What waits is written before, unless the connection
// takes no more for closeGrace.
func (g *gatherer) Close() error {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	g.changed.Signal()
	g.mu.Unlock()
	if !first {
		return net.ErrClosed
	}
	_ = g.SetWriteDeadline(time.Now().Add(closeGrace))
	<-g.done
	return g.Conn.Close()
}
