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

// tlsAlertConn is a TLS connection that remembers the error of its last read. With TLS
// 1.3 a broker refuses a client's certificate after the client's handshake: the alert
// is the first thing to be read, but the AMQP library may report a failed write
// instead.
type tlsAlertConn struct {
	net.Conn

	once   sync.Once
	ended  chan struct{}
	reason error
}

func newTLSAlertConn(c net.Conn) *tlsAlertConn {
	return &tlsAlertConn{Conn: c, ended: make(chan struct{})}
}

// Read implements net.Conn.
func (a *tlsAlertConn) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if err != nil {
		a.once.Do(func() {
			a.reason = err
			close(a.ended)
		})
	}
	return n, err
}

// explain adds to the error of a handshake the reason for which the peer ended the
// connection: its alert, or another error that the library reports only as a closed
// connection.
func (a *tlsAlertConn) explain(err error) error {
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

// readSize is the size of one read. The library itself asks for only 4 kB, three or
// four messages, at a time.
const readSize = 64 << 10

// bufferedConn is a connection that reads ahead.
type bufferedConn struct {
	net.Conn
	buffer *bufio.Reader
}

func newBufferedConn(c net.Conn) *bufferedConn {
	return &bufferedConn{Conn: c, buffer: bufio.NewReaderSize(c, readSize)}
}

// Read implements net.Conn.
func (r *bufferedConn) Read(p []byte) (int, error) { return r.buffer.Read(p) }

// noHeartbeatConn is a connection without heartbeats: the interval that the broker
// proposes reads as 0. The library uses the broker's interval when it has none itself,
// whereas heartbeat_timeout_threshold = 0 switches heartbeats off.
// py-amqp: connection.py _on_tune
type noHeartbeatConn struct {
	net.Conn
	in    *bufio.Reader
	ready []byte // of the frame that has been read
	tuned bool
}

func newNoHeartbeatConn(c net.Conn) *noHeartbeatConn {
	return &noHeartbeatConn{Conn: c, in: bufio.NewReader(c)}
}

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
func (c *noHeartbeatConn) Read(p []byte) (int, error) {
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

// frame reads the next frame of the handshake. Bytes that are not a frame pass unchanged.
func (c *noHeartbeatConn) frame() error {
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

// batchLimit is the number of bytes that wait to be written before publishers are
// held up.
const batchLimit = 256 << 10

// batchingConn collects writes while an earlier write is under way, so that many
// small messages leave in one packet. Only the publishing connection uses it, because
// a write that has returned may not have left yet, and confirms report there whether a
// message has arrived. A write never blocks, because the library holds locks during
// it; publishers call waitForRoom first.
type batchingConn struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	ready   chan struct{} // closed while there is room
	err     error
	closed  bool
	done    chan struct{} // closed when the writing goroutine has ended

	full atomic.Bool // the gate is shut
}

func newBatchingConn(c net.Conn) *batchingConn {
	g := &batchingConn{Conn: c, ready: make(chan struct{}), done: make(chan struct{})}
	g.changed.L = &g.mu
	close(g.ready)
	go g.run()
	return g
}

// waitForRoom waits until another message may be written.
func (g *batchingConn) waitForRoom(ctx context.Context) error {
	for g.full.Load() {
		g.mu.Lock()
		gate := g.ready
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
func (g *batchingConn) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.err != nil:
		return 0, g.err
	case g.closed:
		return 0, net.ErrClosed
	}
	g.waiting = append(g.waiting, p...)
	if len(g.waiting) > batchLimit && !g.full.Load() {
		g.ready = make(chan struct{})
		g.full.Store(true)
	}
	g.changed.Signal()
	return len(p), nil
}

func (g *batchingConn) run() {
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
			close(g.ready)
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
		if cap(batch) > 2*batchLimit {
			batch = nil // big messages are rare
		}
		spare = batch
	}
}

// Close implements net.Conn. It first writes the waiting bytes, unless the connection
// accepts none for closeGrace.
func (g *batchingConn) Close() error {
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
