// SPDX-License-Identifier: Apache-2.0

// Package faultproxy is a TCP proxy for tests that does to connections what networks
// do: it closes and resets them, holds their bytes back while they look alive, slows
// them down, cuts them into small segments and lets no new ones in.
package faultproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Proxy listens on a port of 127.0.0.1 and forwards connections to one address. Its
// methods can be called at any time; settings apply to existing and to new connections.
type Proxy struct {
	upstream string
	listener *net.TCPListener
	work     sync.WaitGroup

	mu       sync.Mutex
	pairs    map[*pair]struct{}
	refuse   bool
	flow     chan struct{} // closed while bytes may pass
	delay    time.Duration
	chunk    int
	accepted int
	tap      func() io.Writer
	closed   bool
}

// Start listens on a free port for connections to upstream, a "host:port". Upstream
// need not be running: it is dialled anew for each connection.
func Start(upstream string) (*Proxy, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listening for connections to %s: %w", upstream, err)
	}
	p := &Proxy{upstream: upstream, listener: l, pairs: make(map[*pair]struct{}), flow: make(chan struct{})}
	close(p.flow)
	p.work.Go(p.accept)
	return p, nil
}

// Addr returns the proxy's own "host:port".
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close resets all connections, accepts no more of them and returns when the proxy has
// no goroutine left. It is idempotent.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Reset()
	p.work.Wait()
}

// Cut closes every connection in order: both ends read the end of the stream (FIN).
func (p *Proxy) Cut() {
	for _, c := range p.all() {
		c.finish()
	}
}

// Reset aborts every connection: both ends read "connection reset by peer" (RST).
func (p *Proxy) Reset() {
	for _, c := range p.all() {
		c.abort()
	}
}

// Stall holds all bytes back, in both directions, as well as the end of a stream.
// Connections stay up and new ones are accepted, so that neither end notices.
// Stall(false) passes on the bytes that were held.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
		if on {
			p.flow = make(chan struct{})
		}
	default:
		if !on {
			close(p.flow)
		}
	}
}

// Refuse resets new connections as soon as they are made. Existing connections go on:
// to simulate a broker that is down, call Cut or Reset as well.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// SetDelay delays every byte, in each direction: it adds latency and leaves throughput
// alone. 0 means no delay.
func (p *Proxy) SetDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// SetChunk passes at most n bytes on at a time, each in a segment of its own where
// the system does as TCP_NODELAY asks. 0 sets no bound.
func (p *Proxy) SetChunk(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.chunk = n
}

// Tap has open called for each new connection once upstream has been reached. The
// returned writer receives the bytes that the client sends, and its results are
// ignored. nil removes the tap.
func (p *Proxy) Tap(open func() io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tap = open
}

// Connections returns the number of open connections, stalled ones included.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

// Accepted returns the number of connections that have ever reached upstream.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

func (p *Proxy) all() []*pair {
	p.mu.Lock()
	defer p.mu.Unlock()
	pairs := make([]*pair, 0, len(p.pairs))
	for c := range p.pairs {
		pairs = append(pairs, c)
	}
	return pairs
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.AcceptTCP()
		if err != nil {
			return
		}
		if one := p.admit(c); one != nil {
			p.work.Go(one.serve)
		}
	}
}

// admit registers the connection, or resets it.
func (p *Proxy) admit(c *net.TCPConn) *pair {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		reset(c)
		return nil
	}
	one := &pair{proxy: p, near: c}
	one.life, one.end = context.WithCancel(context.Background())
	p.pairs[one] = struct{}{}
	return one
}

// passing is closed while bytes may pass.
func (p *Proxy) passing() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flow
}

func (p *Proxy) settings() (delay time.Duration, chunk int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay, p.chunk
}
