// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// readSize is the size of one read, and ahead the number of reads that may wait to
	// be passed on before the sender is held up.
	readSize = 16 << 10
	ahead    = 64
	// farewell is how long either end may take to close after the proxy has closed its
	// side.
	farewell = time.Second
)

// pair is a client's connection together with the connection to upstream.
type pair struct {
	proxy *Proxy
	near  *net.TCPConn
	life  context.Context // ends when nothing more is passed on
	end   context.CancelFunc

	mu  sync.Mutex
	far *net.TCPConn // nil until upstream has been reached
}

// parcel is the result of one read: bytes or the error that ended reading.
type parcel struct {
	bytes []byte
	err   error
	due   time.Time
}

func (c *pair) serve() {
	defer c.close()
	tap, ok := c.reach()
	if !ok {
		// A client that was cut off before upstream was dialled is still closed in
		// order.
		_, _ = io.Copy(io.Discard, c.near)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.pass(c.far, c.near, tap) })
	both.Go(func() { c.pass(c.near, c.far, io.Discard) })
	both.Wait()
}

// reach dials upstream once bytes may pass.
func (c *pair) reach() (tap io.Writer, ok bool) {
	if !c.wait(time.Time{}) {
		return nil, false
	}
	var d net.Dialer
	far, err := d.DialContext(c.life, "tcp", c.proxy.upstream)
	if err != nil {
		c.abort()
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		reset(far.(*net.TCPConn))
		return nil, false
	}
	c.far = far.(*net.TCPConn)
	return c.proxy.reached(), true
}

// reached counts a connection and returns the tap writer for its client's bytes.
func (p *Proxy) reached() io.Writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted++
	if p.tap == nil {
		return io.Discard
	}
	return p.tap()
}

// pass moves one direction until it ends. Reading and writing take turns in two
// goroutines, so that a delay does not limit the throughput.
func (c *pair) pass(to, from *net.TCPConn, tap io.Writer) {
	parcels := make(chan parcel, ahead)
	var writing sync.WaitGroup
	writing.Go(func() { c.write(to, parcels) })
	defer writing.Wait()
	defer close(parcels)
	buffer := make([]byte, readSize)
	for {
		n, err := from.Read(buffer)
		_, _ = tap.Write(buffer[:n])
		delay, _ := c.proxy.settings()
		// The writer drains the channel in every case.
		parcels <- parcel{bytes: bytes.Clone(buffer[:n]), err: err, due: time.Now().Add(delay)}
		if err != nil {
			return
		}
	}
}

// write passes each parcel on when it is due. After the end of the pair it drops
// parcels.
func (c *pair) write(to *net.TCPConn, parcels <-chan parcel) {
	for p := range parcels {
		for len(p.bytes) > 0 && c.wait(p.due) {
			part := p.bytes
			if _, chunk := c.proxy.settings(); chunk > 0 {
				part = part[:min(chunk, len(part))]
			}
			if _, err := to.Write(part); err != nil {
				c.abort()
				break
			}
			p.bytes = p.bytes[len(part):]
		}
		switch {
		case p.err == nil || !c.wait(p.due):
		case p.err == io.EOF:
			_ = to.CloseWrite()
		default:
			c.abort()
		}
	}
}

// wait returns true when due has come and bytes may pass, and false when the pair
// has ended.
func (c *pair) wait(due time.Time) bool {
	if d := time.Until(due); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.life.Done():
			return false
		}
	}
	select {
	case <-c.proxy.passing():
	case <-c.life.Done():
	}
	return c.life.Err() == nil
}

// over ends the pair and returns its connections.
func (c *pair) over() []*net.TCPConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	c.proxy.mu.Lock()
	delete(c.proxy.pairs, c)
	c.proxy.mu.Unlock()
	if c.far == nil {
		return []*net.TCPConn{c.near}
	}
	return []*net.TCPConn{c.near, c.far}
}

// finish tells both ends that no more bytes will come. Bytes that they still send are read
// and dropped: closing a socket with unread bytes would reset it.
func (c *pair) finish() {
	for _, s := range c.over() {
		_ = s.CloseWrite()
		_ = s.SetDeadline(time.Now().Add(farewell))
	}
}

// close closes both connections of a pair that is done or was told to end.
func (c *pair) close() {
	for _, s := range c.over() {
		_ = s.Close()
	}
}

func (c *pair) abort() {
	for _, s := range c.over() {
		reset(s)
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
