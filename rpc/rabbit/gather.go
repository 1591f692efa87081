// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"net"
	"sync"
	"time"
)

// gatherLimit bounds the bytes that wait to be written; beyond it writers wait.
const gatherLimit = 256 << 10

// gatherer is a connection whose writes are gathered while an earlier one is on
// its way, so that many small messages leave in one packet. That is for the
// publishing connection alone, where a confirm tells whether a message has
// arrived: a write that has returned need not have left.
type gatherer struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	err     error
	closed  bool
	done    chan struct{} // closed when the writing goroutine has ended
}

func newGatherer(c net.Conn) *gatherer {
	g := &gatherer{Conn: c, done: make(chan struct{})}
	g.changed.L = &g.mu
	go g.run()
	return g
}

// Write implements net.Conn. It keeps nothing of p and reports the error of an
// earlier write.
func (g *gatherer) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.waiting) > gatherLimit && g.err == nil && !g.closed {
		g.changed.Wait()
	}
	switch {
	case g.err != nil:
		return 0, g.err
	case g.closed:
		return 0, net.ErrClosed
	}
	g.waiting = append(g.waiting, p...)
	g.changed.Broadcast()
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
		g.changed.Broadcast()
		g.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		if _, err := g.Conn.Write(batch); err != nil {
			g.mu.Lock()
			g.err = err
			g.changed.Broadcast()
			g.mu.Unlock()
			return
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
	g.changed.Broadcast()
	g.mu.Unlock()
	if !first {
		return net.ErrClosed
	}
	_ = g.SetWriteDeadline(time.Now().Add(closeGrace))
	<-g.done
	return g.Conn.Close()
}
