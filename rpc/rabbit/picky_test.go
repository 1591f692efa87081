// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// picky is a broker that only takes messages, and keeps those that its script
// lets it keep. A real broker refuses by queue; what a channel's own state makes it
// refuse takes a cluster and a lost node. AMQP 0-9-1: 2.3.5 of the specification
// for the frames, section 1.4 of the reference for the methods.
type picky struct {
	t *testing.T
	// keeps decides about a message by the channel that it comes on: the how many-th
	// one that has asked for confirms, from 1.
	keeps    func(channel int) bool
	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	channels int
	taken    []int // the channel of each message
	conns    []net.Conn

	closed chan int // channels that the client has closed
}

// newPicky starts a broker; u is its address.
func newPicky(t *testing.T, keeps func(channel int) bool) (b *picky, u *rpc.TransportURL) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b = &picky{t: t, keeps: keeps, listener: l, closed: make(chan int, 64)}
	b.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns = append(b.conns, c)
			b.mu.Unlock()
			b.serving.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			_ = c.Close()
		}
		b.mu.Unlock()
		b.serving.Wait()
	})
	u, err = rpc.ParseTransportURL("rabbit://guest:guest@" + l.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	return b, u
}

// messages are the channels of all messages so far.
func (b *picky) messages() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]int(nil), b.taken...)
}

// The methods that this broker knows, class and method in one number.
const (
	connectionStart   = 10<<16 | 10
	connectionStartOK = 10<<16 | 11
	connectionTune    = 10<<16 | 30
	connectionTuneOK  = 10<<16 | 31
	connectionOpen    = 10<<16 | 40
	connectionClose   = 10<<16 | 50
	channelOpen       = 20<<16 | 10
	channelClose      = 20<<16 | 40
	exchangeDeclare   = 40<<16 | 10
	basicPublish      = 60<<16 | 40
	basicAck          = 60<<16 | 80
	basicNack         = 60<<16 | 120
	confirmSelect     = 85<<16 | 10
)

// picked is a connection to the broker.
type picked struct {
	*picky
	conn       net.Conn
	publishers map[uint16]*publisher // by channel
}

// publisher is a channel that has asked for confirms.
type publisher struct {
	number int    // among those of the broker
	tag    uint64 // of the latest message
	left   uint64 // bytes of its body that are still to come
}

func (b *picky) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	if _, err := io.ReadFull(in, make([]byte, len("AMQP\x00\x00\x09\x01"))); err != nil {
		return
	}
	c := &picked{picky: b, conn: conn, publishers: map[uint16]*publisher{}}
	c.send(0, connectionStart, "\x00\x09"+"\x00\x00\x00\x00"+"\x00\x00\x00\x08AMQPLAIN"+"\x00\x00\x00\x05en_US")
	for {
		var head [7]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		channel, payload := binary.BigEndian.Uint16(head[1:]), frame[:len(frame)-1]
		switch p := c.publishers[channel]; head[0] {
		case 1:
			c.method(channel, binary.BigEndian.Uint32(payload))
		case 2: // the header of a message, with the size of the body
			p.tag++
			p.left = binary.BigEndian.Uint64(payload[4:])
		case 3:
			if p.left -= uint64(len(payload)); p.left == 0 {
				c.judge(channel, p)
			}
		}
	}
}

func (c *picked) send(channel uint16, method uint32, arguments string) {
	f := binary.BigEndian.AppendUint16([]byte{1}, channel)
	f = binary.BigEndian.AppendUint32(f, uint32(4+len(arguments)))
	f = binary.BigEndian.AppendUint32(f, method)
	_, _ = c.conn.Write(append(append(f, arguments...), 0xCE))
}

// method answers what has an answer, whose number is the next one.
func (c *picked) method(channel uint16, method uint32) {
	switch method {
	case connectionStartOK:
		c.send(0, connectionTune, "\x00\x00"+"\x00\x02\x00\x00"+"\x00\x00")
	case connectionTuneOK, basicPublish:
	case connectionOpen:
		c.send(0, method+1, "\x00")
	case channelOpen:
		c.send(channel, method+1, "\x00\x00\x00\x00")
	case confirmSelect:
		c.mu.Lock()
		c.channels++
		c.publishers[channel] = &publisher{number: c.channels}
		c.mu.Unlock()
		c.send(channel, method+1, "")
	case channelClose:
		if p := c.publishers[channel]; p != nil {
			c.closed <- p.number
		}
		c.send(channel, method+1, "")
	case exchangeDeclare, connectionClose:
		c.send(channel, method+1, "")
	default:
		c.t.Errorf("the broker was sent method %d of class %d", method&0xFFFF, method>>16)
	}
}

// judge confirms a message or refuses it.
func (c *picked) judge(channel uint16, p *publisher) {
	c.mu.Lock()
	c.taken = append(c.taken, p.number)
	c.mu.Unlock()
	verdict := uint32(basicNack)
	if c.keeps(p.number) {
		verdict = basicAck
	}
	c.send(channel, verdict, string(binary.BigEndian.AppendUint64(nil, p.tag))+"\x00")
}

// transport is one to the broker, with no pauses between attempts.
func (b *picky) transport(u *rpc.TransportURL) *Transport {
	b.t.Helper()
	tr, err := New(u, DefaultOptions(), discard())
	if err != nil {
		b.t.Fatal(err)
	}
	tr.republishPause = time.Nanosecond
	b.t.Cleanup(func() {
		if err := tr.Close(b.t.Context()); err != nil {
			b.t.Errorf("Close: %v", err)
		}
	})
	return tr
}
