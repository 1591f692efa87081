// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/rpc"
)

// scripted is a broker that a test leads: it answers every method, and tells the
// script of each one before. It is for points in time that no real broker stops at,
// and for what newer ones do. AMQP 0-9-1: 2.3.5 of the specification for the frames,
// section 1.4 of the reference for the methods.
type scripted struct {
	t         testing.TB
	heartbeat uint16 // proposed to clients
	// script is told of each method. It reports whether the method is to be answered.
	script func(on *scriptedChannel, m method) bool
	url    *rpc.TransportURL

	serving sync.WaitGroup
	mu      sync.Mutex
	conns   map[*scriptedConn]bool
	queues  map[string]int // that exist, with what a declaration says of consumers
	methods []method       // from all clients
}

// scriptedConn is a connection of a client.
type scriptedConn struct {
	broker *scripted
	conn   net.Conn

	mu       sync.Mutex
	channels map[uint16]*scriptedChannel
	ended    map[uint16]bool // by the client, and not opened again
}

type scriptedChannel struct {
	*scriptedConn
	number    uint16
	consumers map[string]string // queues by consumer tag
	delivered uint64            // the last tag
	confirmed uint64
	left      uint64 // bytes of the body that is coming
}

// moreDomains are the methods that recordings leave out.
var moreDomains = map[[2]uint64]domain{
	{10, 40}:  {"connection.open", [][2]string{{"s", "virtual_host"}}},
	{10, 50}:  {"connection.close", nil},
	{10, 51}:  {"connection.close-ok", nil},
	{20, 10}:  {"channel.open", nil},
	{20, 40}:  {"channel.close", nil},
	{20, 41}:  {"channel.close-ok", nil},
	{60, 30}:  {"basic.cancel", [][2]string{{"s", "consumer_tag"}, {"b", "nowait"}}},
	{60, 31}:  {"basic.cancel-ok", [][2]string{{"s", "consumer_tag"}}},
	{60, 80}:  {"basic.ack", [][2]string{{"8", "delivery_tag"}, {"b", "multiple"}}},
	{60, 90}:  {"basic.reject", [][2]string{{"8", "delivery_tag"}, {"b", "requeue"}}},
	{60, 120}: {"basic.nack", [][2]string{{"8", "delivery_tag"}, {"b", "multiple"}, {"b", "requeue"}}},
}

// newScripted starts a broker.
func newScripted(t testing.TB, script func(on *scriptedChannel, m method) bool) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &scripted{t: t, script: script, conns: map[*scriptedConn]bool{}, queues: map[string]int{}}
	if b.url, err = rpc.ParseTransportURL("rabbit://guest:guest@" + l.Addr().String() + "/"); err != nil {
		t.Fatal(err)
	}
	b.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c := &scriptedConn{broker: b, conn: conn, channels: map[uint16]*scriptedChannel{}, ended: map[uint16]bool{}}
			b.mu.Lock()
			b.conns[c] = true
			b.mu.Unlock()
			b.serving.Go(c.serve)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for c := range b.conns {
			_ = c.conn.Close()
		}
		b.mu.Unlock()
		b.serving.Wait()
	})
	return b
}

func (c *scriptedConn) serve() {
	defer func() {
		_ = c.conn.Close()
		c.broker.mu.Lock()
		delete(c.broker.conns, c)
		c.broker.mu.Unlock()
	}()
	in := bufio.NewReader(c.conn)
	if _, err := io.ReadFull(in, make([]byte, len("AMQP\x00\x00\x09\x01"))); err != nil {
		return
	}
	c.send(0, 10, 10, "\x00\x09"+"\x00\x00\x00\x00"+"\x00\x00\x00\x08AMQPLAIN"+"\x00\x00\x00\x05en_US")
	for {
		var head [7]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		number, payload := binary.BigEndian.Uint16(head[1:]), frame[:len(frame)-1]
		c.mu.Lock()
		ch := c.channels[number]
		if ch == nil {
			ch = &scriptedChannel{scriptedConn: c, number: number, consumers: map[string]string{}}
			c.channels[number] = ch
		}
		c.mu.Unlock()
		switch head[0] {
		case 1:
			key := [2]uint64{uint64(binary.BigEndian.Uint16(payload)), uint64(binary.BigEndian.Uint16(payload[2:]))}
			d, known := domains[key]
			if !known {
				d, known = moreDomains[key]
			}
			if !known {
				c.broker.t.Errorf("the broker was sent method %d", key)
				return
			}
			ch.take((&fields{bytes.NewReader(payload[4:])}).arguments(d))
		case 2:
			ch.left = binary.BigEndian.Uint64(payload[4:])
		case 3:
			if ch.left -= uint64(len(payload)); ch.left == 0 {
				ch.confirmed++
				c.send(number, 60, 80, string(binary.BigEndian.AppendUint64(nil, ch.confirmed))+"\x00")
			}
		}
	}
}

// send writes a method.
func (c *scriptedConn) send(channel, class, method uint16, arguments string) {
	f := binary.BigEndian.AppendUint16([]byte{1}, channel)
	f = binary.BigEndian.AppendUint32(f, uint32(4+len(arguments)))
	f = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(f, class), method)
	_, _ = c.conn.Write(append(append(f, arguments...), 0xCE))
}

func shortText(s string) string { return string([]byte{byte(len(s))}) + s }

func (ch *scriptedChannel) take(m method) {
	b := ch.broker
	b.mu.Lock()
	b.methods = append(b.methods, m)
	b.mu.Unlock()
	ch.mu.Lock()
	switch ended := ch.ended[ch.number]; {
	case m.name == "channel.open":
		delete(ch.ended, ch.number)
	case ended: // which costs the connection
		b.t.Errorf("%s has come after channel.close", m.name)
	case m.name == "channel.close":
		ch.ended[ch.number] = true
	}
	ch.mu.Unlock()
	if b.script == nil || b.script(ch, m) {
		ch.answer(m)
	}
}

// answer is what a broker says that has nothing against the method.
func (ch *scriptedChannel) answer(m method) {
	b := ch.broker
	text := func(name string) string { s, _ := m.args[name].(string); return s }
	reply := func(class, method uint16, arguments string) { ch.send(ch.number, class, method, arguments) }
	switch m.name {
	case "connection.start-ok":
		tune := "\x00\x00" + "\x00\x02\x00\x00" + string(binary.BigEndian.AppendUint16(nil, b.heartbeat))
		reply(10, 30, tune)
	case "connection.open":
		reply(10, 41, "\x00")
	case "connection.close":
		reply(10, 51, "")
	case "channel.open":
		reply(20, 11, "\x00\x00\x00\x00")
	case "channel.close":
		ch.forget()
		reply(20, 41, "")
	case "exchange.declare":
		reply(40, 11, "")
	case "queue.declare":
		name := text("queue")
		b.mu.Lock()
		consumers := b.queues[name]
		b.queues[name] = consumers
		b.mu.Unlock()
		count := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(consumers))
		reply(50, 11, shortText(name)+string(count))
	case "queue.bind":
		reply(50, 21, "")
	case "queue.delete":
		b.mu.Lock()
		delete(b.queues, text("queue"))
		b.mu.Unlock()
		reply(50, 41, "\x00\x00\x00\x00")
	case "basic.qos":
		reply(60, 11, "")
	case "basic.consume":
		ch.mu.Lock()
		ch.consumers[text("consumer_tag")] = text("queue")
		ch.mu.Unlock()
		reply(60, 21, shortText(text("consumer_tag")))
	case "basic.cancel":
		ch.mu.Lock()
		delete(ch.consumers, text("consumer_tag"))
		ch.mu.Unlock()
		reply(60, 31, shortText(text("consumer_tag")))
	case "confirm.select":
		reply(85, 11, "")
	}
}

// forget ends the channel.
func (ch *scriptedChannel) forget() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	delete(ch.channels, ch.number)
}

// fail closes the channel with an error.
func (ch *scriptedChannel) fail(code uint16, text string) {
	ch.forget()
	ch.send(ch.number, 20, 40, string(binary.BigEndian.AppendUint16(nil, code))+shortText(text)+"\x00\x00\x00\x00")
}

// cancel tells the client that a consumer is gone, and keeps the channel.
func (ch *scriptedChannel) cancel(tag string) {
	ch.mu.Lock()
	delete(ch.consumers, tag)
	ch.mu.Unlock()
	ch.send(ch.number, 60, 30, shortText(tag)+"\x01")
}

// deliver sends a request to a consumer.
func (ch *scriptedChannel) deliver(tag, payload string) {
	ch.delivered++
	arguments := shortText(tag) + string(binary.BigEndian.AppendUint64(nil, ch.delivered)) + "\x00" + shortText("") + shortText("")
	ch.send(ch.number, 60, 60, arguments)
	head := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(payload)))
	head = append(binary.BigEndian.AppendUint16(head, 1<<15|1<<14), shortText("application/json")+shortText("utf-8")...)
	for kind, content := range [][]byte{head, []byte(payload)} {
		f := binary.BigEndian.AppendUint16([]byte{byte(2 + kind)}, ch.number)
		f = binary.BigEndian.AppendUint32(f, uint32(len(content)))
		_, _ = ch.conn.Write(append(append(f, content...), 0xCE))
	}
}

// consumer is the channel and the tag of the consumer of a queue.
func (b *scripted) consumer(queue string) (on *scriptedChannel, tag string) {
	b.mu.Lock()
	conns := slices.Collect(maps.Keys(b.conns))
	b.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		for _, ch := range c.channels {
			for t, q := range ch.consumers {
				if q == queue {
					on, tag = ch, t
				}
			}
		}
		c.mu.Unlock()
	}
	return on, tag
}

// left are the channels that are open, and the queues that exist.
func (b *scripted) left() (channels int, queues []string) {
	b.mu.Lock()
	conns := slices.Collect(maps.Keys(b.conns))
	queues = slices.Sorted(maps.Keys(b.queues))
	b.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		for number := range c.channels {
			if number > 0 {
				channels++
			}
		}
		c.mu.Unlock()
	}
	return channels, queues
}

// sent are the arguments of all methods of that name from clients.
func (b *scripted) sent(name string) []map[string]any {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []map[string]any
	for _, m := range b.methods {
		if m.name == name {
			all = append(all, m.args)
		}
	}
	return all
}
