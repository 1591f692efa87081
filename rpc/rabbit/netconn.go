// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// alertTime bounds the wait for the reason of a failed handshake.
const alertTime = 500 * time.Millisecond

// alerted is a TLS connection that remembers how reading from it ended. With TLS
// 1.3 a broker refuses a client's certificate after the client's handshake: the
// alert is the first thing to be read, and the AMQP library may report in its
// place that writing failed.
type alerted struct {
	net.Conn

	once   sync.Once
	ended  chan struct{}
	reason error
}

func newAlerted(c net.Conn) *alerted { return &alerted{Conn: c, ended: make(chan struct{})} }

// Read implements net.Conn.
func (a *alerted) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if err != nil {
		a.once.Do(func() {
			a.reason = err
			close(a.ended)
		})
	}
	return n, err
}

// explain adds to the error of a handshake what the peer ended the connection
// with: its alert, or whatever end the library reports as no more than a closed
// connection.
func (a *alerted) explain(err error) error {
	timer := time.NewTimer(alertTime)
	defer timer.Stop()
	select {
	case <-a.ended:
	case <-timer.C:
		return err
	}
	// crypto/tls: conn.go, an alert of the peer is an OpError of this name
	var op *net.OpError
	alert := errors.As(a.reason, &op) && op.Op == "remote error"
	if alert || errors.Is(err, amqp.ErrClosed) && !errors.Is(a.reason, net.ErrClosed) {
		return fmt.Errorf("%w: %w", err, a.reason)
	}
	return err
}

// readSize is what one system call can bring. The library asks for 4 kB, three or
// four messages, at a time.
const readSize = 64 << 10

// reading is a connection that reads ahead.
type reading struct {
	net.Conn
	ahead *bufio.Reader
}

func newReading(c net.Conn) *reading {
	return &reading{Conn: c, ahead: bufio.NewReaderSize(c, readSize)}
}

// Read implements net.Conn.
func (r *reading) Read(p []byte) (int, error) { return r.ahead.Read(p) }

// unbeaten is a connection without heartbeats: the broker's proposal of an interval
// reads as 0. The library takes the broker's own interval when none is asked for,
// where heartbeat_timeout_threshold = 0 switches heartbeats off.
// py-amqp: connection.py _on_tune
type unbeaten struct {
	net.Conn
	in    *bufio.Reader
	ready []byte // of the frame that has been read
	tuned bool
}

func newUnbeaten(c net.Conn) *unbeaten { return &unbeaten{Conn: c, in: bufio.NewReader(c)} }

const (
	frameHead   = 7 // type, channel and size
	frameEnd    = 1
	methodFrame = 1
	// maxTuneFrame bounds the frames up to connection.tune.
	maxTuneFrame = frameMax
)

// tuneMethod is the class and the method of connection.tune; its last two bytes are
// the interval. AMQP 0-9-1: reference, connection.tune
var tuneMethod = [4]byte{0, 10, 0, 30}

// Read implements net.Conn.
func (c *unbeaten) Read(p []byte) (int, error) {
	if len(c.ready) == 0 && !c.tuned {
		if err := c.frame(); err != nil {
			return 0, err
		}
	}
	if len(c.ready) > 0 {
		n := copy(p, c.ready)
		c.ready = c.ready[n:]
		return n, nil
	}
	return c.in.Read(p)
}

// frame reads the next frame of the handshake. What is no frame is left as it is.
func (c *unbeaten) frame() error {
	head, err := c.in.Peek(frameHead)
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[3:])
	if head[0] != methodFrame || size > maxTuneFrame {
		c.tuned = true
		return nil
	}
	c.ready = make([]byte, frameHead+int(size)+frameEnd)
	if _, err := io.ReadFull(c.in, c.ready); err != nil {
		return err
	}
	payload := c.ready[frameHead : frameHead+size]
	if len(payload) >= len(tuneMethod)+2 && [4]byte(payload) == tuneMethod {
		binary.BigEndian.PutUint16(payload[len(payload)-2:], 0)
		c.tuned = true
	}
	return nil
}

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
