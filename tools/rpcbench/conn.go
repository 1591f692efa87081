// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

const (
	// publishing and consuming are the two channels.
	publishing = 1
	consuming  = 2

	// readSize is what one read can bring: many replies under load.
	readSize = 256 << 10
	// writeLimit bounds what waits to be written before submit blocks.
	writeLimit = 4 << 20

	handshakeTime = 15 * time.Second
)

// conn is a connection to the broker. Writes are gathered while an earlier one is
// on its way.
type conn struct {
	socket   net.Conn
	in       *bufio.Reader
	payload  []byte
	frameMax uint32

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	err     error
	closed  bool
}

// dial connects and logs in at the first host of the URL.
func dial(ctx context.Context, u *rpc.TransportURL) (*conn, error) {
	if len(u.Brokers()) == 0 {
		return nil, errors.New("the URL names no host")
	}
	h := u.Brokers()[0]
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	var d net.Dialer
	socket, err := d.DialContext(ctx, "tcp", h.Address())
	if err != nil {
		return nil, err
	}
	c := &conn{socket: socket, in: bufio.NewReaderSize(socket, readSize)}
	c.changed.L = &c.mu
	_ = socket.SetDeadline(time.Now().Add(handshakeTime))
	if err := c.login(h.User, h.Password, u.VirtualHost); err != nil {
		_ = socket.Close()
		return nil, err
	}
	_ = socket.SetDeadline(time.Time{})
	go c.write()
	return c, nil
}

func (c *conn) login(user, password, vhost string) error {
	if _, err := io.WriteString(c.socket, "AMQP\x00\x00\x09\x01"); err != nil {
		return err
	}
	if _, err := c.expect(connectionStart); err != nil {
		return err
	}
	var w writer
	w.method(0, connectionStartOK).long(0).shortText("PLAIN").longText("\x00" + user + "\x00" + password).shortText("en_US").end()
	tune, err := c.ask(&w, connectionTune)
	if err != nil {
		return fmt.Errorf("logging in as %s: %w", user, err)
	}
	if len(tune) < 8 {
		return errMalformed
	}
	c.frameMax = binary.BigEndian.Uint32(tune[2:])
	// No heartbeats: a broker that falls silent shows as lost calls.
	w = writer{}
	w.method(0, connectionTuneOK).bytes(tune[:6]).short(0).end()
	w.method(0, connectionOpen).shortText(vhost).shortText("").octet(0).end()
	if _, err := c.ask(&w, connectionOpenOK); err != nil {
		return fmt.Errorf("opening the virtual host %s: %w", vhost, err)
	}
	for _, n := range []uint16{publishing, consuming} {
		w = writer{}
		w.method(n, channelOpen).shortText("").end()
		if _, err := c.ask(&w, channelOpenOK); err != nil {
			return err
		}
	}
	w = writer{}
	w.method(publishing, confirmSelect).octet(0).end()
	_, err = c.ask(&w, confirmSelectOK)
	return err
}

// prepare declares the reply queue, which ends with the connection, and consumes it.
func (c *conn) prepare(queue string) error {
	const exclusive, noTable = 1 << 2, 0
	_ = c.socket.SetDeadline(time.Now().Add(handshakeTime))
	defer c.socket.SetDeadline(time.Time{})
	var w writer
	w.method(consuming, queueDeclare).short(0).shortText(queue).octet(exclusive).long(noTable).end()
	if _, err := c.ask(&w, queueDeclareOK); err != nil {
		return fmt.Errorf("declaring the reply queue: %w", err)
	}
	w = writer{}
	w.method(consuming, basicConsume).short(0).shortText(queue).shortText("1").octet(0).long(noTable).end()
	if _, err := c.ask(&w, basicConsumeOK); err != nil {
		return fmt.Errorf("consuming the reply queue: %w", err)
	}
	return nil
}

// ask writes, waits for the answer and returns its arguments.
func (c *conn) ask(w *writer, answer uint32) ([]byte, error) {
	if _, err := c.socket.Write(w.buf); err != nil {
		return nil, err
	}
	return c.expect(answer)
}

func (c *conn) expect(answer uint32) ([]byte, error) {
	f, err := c.read()
	if err != nil {
		return nil, err
	}
	if f.method() != answer {
		return nil, unexpected(&f)
	}
	return f.payload[4:], nil
}

// unexpected is the broker's reason for closing, or what else came.
func unexpected(f *frame) error {
	m := f.method()
	if (m == connectionClose || m == channelClose) && len(f.payload) > 7 {
		if n := int(f.payload[6]); len(f.payload) >= 7+n {
			return fmt.Errorf("the broker says %d %s", binary.BigEndian.Uint16(f.payload[4:]), f.payload[7:7+n])
		}
	}
	return fmt.Errorf("unexpected frame: type %d, method %d.%d", f.kind, m>>16, m&0xffff)
}

// read reads one frame.
func (c *conn) read() (frame, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return frame{}, err
	}
	size := int(binary.BigEndian.Uint32(head[3:]))
	if c.frameMax > 0 && uint32(size) > c.frameMax {
		return frame{}, errMalformed
	}
	if cap(c.payload) <= size {
		c.payload = make([]byte, size+1)
	}
	p := c.payload[:size+1]
	if _, err := io.ReadFull(c.in, p); err != nil {
		return frame{}, err
	}
	if p[size] != frameEnd {
		return frame{}, errMalformed
	}
	return frame{kind: head[0], channel: binary.BigEndian.Uint16(head[1:]), payload: p[:size]}, nil
}

// more reports whether a further frame has begun to arrive.
func (c *conn) more() bool { return c.in.Buffered() >= frameOverhead }

// submit queues bytes for writing. With wait it blocks while too much is queued;
// the goroutine that reads must not wait.
func (c *conn) submit(wait bool, add func([]byte) []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for wait && len(c.waiting) > writeLimit && c.err == nil {
		c.changed.Wait()
	}
	if c.err != nil {
		return c.err
	}
	c.waiting = add(c.waiting)
	c.changed.Broadcast()
	return nil
}

func (c *conn) write() {
	var spare []byte
	for {
		c.mu.Lock()
		for len(c.waiting) == 0 && !c.closed {
			c.changed.Wait()
		}
		if len(c.waiting) == 0 {
			c.mu.Unlock()
			return
		}
		batch := c.waiting
		c.waiting = spare[:0]
		c.changed.Broadcast()
		c.mu.Unlock()
		if _, err := c.socket.Write(batch); err != nil {
			c.mu.Lock()
			c.err = err
			c.changed.Broadcast()
			c.mu.Unlock()
			return
		}
		spare = batch
	}
}

// close ends the connection without ceremony; the broker removes the reply queue.
func (c *conn) close() {
	c.mu.Lock()
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	_ = c.socket.Close()
}
