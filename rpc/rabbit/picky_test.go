// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// picky is a broker that only takes messages, and does with each what its script
// says. What a real broker does depends on the state of its queues, some of which
// takes a cluster and a lost node. AMQP 0-9-1: 2.3.5 of the specification for the
// frames, section 1.4 of the reference for the methods.
type picky struct {
	t *testing.T
	// judge decides about a message.
	judge   func(taken) fate
	serving sync.WaitGroup

	mu       sync.Mutex
	mute     uint32 // the method that gets no answer
	reading  chan struct{}
	channels int
	taken    []taken
	conns    []net.Conn

	closed chan int // channels that the client has closed
}

// taken is a message that the broker has got.
type taken struct {
	// channel is the one that it came on: the how many-th one that has asked for
	// confirms, from 1.
	channel       int
	exchange, key string
	size          int
}

// fate is what becomes of a message; its zero value is that it is kept. A code
// closes the channel.
type fate struct {
	nack, silent bool
	code         uint16
	text         string
}

// keeping is the script of a broker that keeps the messages of some channels.
func keeping(keeps func(channel int) bool) func(taken) fate {
	return func(m taken) fate { return fate{nack: !keeps(m.channel)} }
}

// newPicky starts a broker that hears no network, for tests in a bubble of fake
// time.
func newPicky(t *testing.T, judge func(taken) fate) *picky {
	t.Helper()
	b := &picky{t: t, judge: judge, closed: make(chan int, 1024), reading: make(chan struct{})}
	close(b.reading)
	t.Cleanup(func() {
		b.stall(false)
		b.mu.Lock()
		for _, c := range b.conns {
			_ = c.Close()
		}
		b.mu.Unlock()
		b.serving.Wait()
	})
	return b
}

// connect gives one end of a pipe to the broker.
func (b *picky) connect(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	b.accept(theirs)
	return ours, nil
}

func (b *picky) accept(c net.Conn) {
	b.mu.Lock()
	b.conns = append(b.conns, c)
	b.mu.Unlock()
	b.serving.Go(func() { b.serve(c) })
}

// listen lets the broker hear the network; u is its address.
func (b *picky) listen() (u *rpc.TransportURL) {
	b.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.accept(c)
		}
	})
	b.t.Cleanup(func() { _ = l.Close() })
	u, err = rpc.ParseTransportURL("rabbit://guest:guest@" + l.Addr().String() + "/")
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// stall has the broker read nothing, or read again.
func (b *picky) stall(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	closeOnce(b.reading)
	if on {
		b.reading = make(chan struct{})
	}
}

// silence has the broker answer all but one method.
func (b *picky) silence(method uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mute = method
}

// block tells all clients that the broker takes no messages, or takes them again.
func (b *picky) block(on bool) {
	b.mu.Lock()
	conns := slices.Clone(b.conns)
	b.mu.Unlock()
	for _, conn := range conns {
		if on {
			write(conn, 0, connectionBlocked, shortText("low on memory"))
		} else {
			write(conn, 0, connectionUnblocked, "")
		}
	}
}

// connections is how many there have been.
func (b *picky) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

// messages are all so far.
func (b *picky) messages() []taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.taken)
}

// The methods that this broker knows, class and method in one number.
const (
	connectionStart     = 10<<16 | 10
	connectionStartOK   = 10<<16 | 11
	connectionTune      = 10<<16 | 30
	connectionTuneOK    = 10<<16 | 31
	connectionOpen      = 10<<16 | 40
	connectionClose     = 10<<16 | 50
	connectionBlocked   = 10<<16 | 60
	connectionUnblocked = 10<<16 | 61
	channelOpen         = 20<<16 | 10
	channelClose        = 20<<16 | 40
	channelClosed       = 20<<16 | 41
	exchangeDeclare     = 40<<16 | 10
	basicPublish        = 60<<16 | 40
	basicAck            = 60<<16 | 80
	basicNack           = 60<<16 | 120
	confirmSelect       = 85<<16 | 10
)

// picked is a connection to the broker.
type picked struct {
	*picky
	conn       net.Conn
	publishers map[uint16]*publisher // by channel
}

// publisher is a channel that has asked for confirms.
type publisher struct {
	message taken  // the latest
	tag     uint64 // of the latest message
	left    uint64 // bytes of its body that are still to come
}

func (b *picky) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	if _, err := io.ReadFull(in, make([]byte, len("AMQP\x00\x00\x09\x01"))); err != nil {
		return
	}
	c := &picked{picky: b, conn: conn, publishers: map[uint16]*publisher{}}
	c.send(0, connectionStart, "\x00\x09"+"\x00\x00\x00\x00"+"\x00\x00\x00\x08AMQPLAIN"+"\x00\x00\x00\x05en_US")
	for {
		b.mu.Lock()
		reading := b.reading
		b.mu.Unlock()
		<-reading
		var head [7]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		channel, payload := binary.BigEndian.Uint16(head[1:]), frame[:len(frame)-1]
		p := c.publishers[channel]
		switch {
		case head[0] == 1:
			c.method(channel, binary.BigEndian.Uint32(payload), payload[4:])
		case p == nil: // the channel is closed
		case head[0] == 2: // the header of a message, with the size of the body
			p.tag++
			p.left = binary.BigEndian.Uint64(payload[4:])
			p.message.size = int(p.left)
		case head[0] == 3:
			if p.left -= uint64(len(payload)); p.left == 0 {
				c.decide(channel, p)
			}
		}
	}
}

func (c *picked) send(channel uint16, method uint32, arguments string) {
	write(c.conn, channel, method, arguments)
}

func write(conn net.Conn, channel uint16, method uint32, arguments string) {
	f := binary.BigEndian.AppendUint16([]byte{1}, channel)
	f = binary.BigEndian.AppendUint32(f, uint32(4+len(arguments)))
	f = binary.BigEndian.AppendUint32(f, method)
	_, _ = conn.Write(append(append(f, arguments...), 0xCE))
}

// shortText is a text of AMQP with its length in front.
func shortText(s string) string { return string([]byte{byte(len(s))}) + s }

// method answers what has an answer, whose number is the next one.
func (c *picked) method(channel uint16, method uint32, arguments []byte) {
	c.mu.Lock()
	muted := method == c.mute
	c.mu.Unlock()
	if muted {
		return
	}
	switch method {
	case connectionStartOK:
		c.send(0, connectionTune, "\x00\x00"+"\x00\x02\x00\x00"+"\x00\x00")
	case connectionTuneOK, channelClosed:
	case basicPublish:
		if p := c.publishers[channel]; p != nil {
			exchange := arguments[3 : 3+arguments[2]]
			key := arguments[3+len(exchange):]
			p.message = taken{channel: p.message.channel, exchange: string(exchange), key: string(key[1 : 1+key[0]])}
		}
	case connectionOpen:
		c.send(0, method+1, "\x00")
	case channelOpen:
		c.send(channel, method+1, "\x00\x00\x00\x00")
	case confirmSelect:
		c.mu.Lock()
		c.channels++
		c.publishers[channel] = &publisher{message: taken{channel: c.channels}}
		c.mu.Unlock()
		c.send(channel, method+1, "")
	case channelClose:
		if p := c.publishers[channel]; p != nil {
			c.closed <- p.message.channel
			delete(c.publishers, channel)
		}
		c.send(channel, method+1, "")
	case exchangeDeclare, connectionClose:
		c.send(channel, method+1, "")
	default:
		c.t.Errorf("the broker was sent method %d of class %d", method&0xFFFF, method>>16)
	}
}

// decide confirms a message, refuses it, or does neither.
func (c *picked) decide(channel uint16, p *publisher) {
	c.mu.Lock()
	c.taken = append(c.taken, p.message)
	c.mu.Unlock()
	tag := string(binary.BigEndian.AppendUint64(nil, p.tag))
	switch f := c.judge(p.message); {
	case f.silent:
	case f.code != 0:
		delete(c.publishers, channel)
		c.send(channel, channelClose, string(binary.BigEndian.AppendUint16(nil, f.code))+shortText(f.text)+"\x00\x3c\x00\x28")
	case f.nack:
		c.send(channel, basicNack, tag+"\x00")
	default:
		c.send(channel, basicAck, tag+"\x00")
	}
}

// transport is one to the broker, with no pauses between attempts.
func (b *picky) transport() *Transport {
	b.t.Helper()
	u, err := rpc.ParseTransportURL("rabbit://guest:guest@broker/")
	if err != nil {
		b.t.Fatal(err)
	}
	o := DefaultOptions()
	o.HeartbeatThreshold = 0 // the broker sends none
	tr, err := New(u, o, rpc.OrDiscard(nil))
	if err != nil {
		b.t.Fatal(err)
	}
	tr.publishConn.dialer.connect, tr.consumeConn.dialer.connect = b.connect, b.connect
	tr.republishDelay = time.Nanosecond
	b.t.Cleanup(func() {
		b.stall(false)
		b.silence(0)
		if err := tr.Close(context.Background()); err != nil {
			b.t.Errorf("Close: %v", err)
		}
	})
	return tr
}
