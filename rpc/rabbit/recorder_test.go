// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/rpc"
)

// method is what a client has asked of the broker. AMQP 0-9-1: section 1.4 of the
// reference, and 4.2 of the specification for the frames.
type method struct {
	name string
	args map[string]any
	// body and properties belong to basic.publish.
	properties map[string]any
	body       []byte
}

// recording is what came over one connection so far.
type recording struct {
	mu      sync.Mutex
	pending []byte
	greeted bool
	methods []method
	// prefetches are the counts of basic.qos, which has its place in no other list:
	// peers ask for them elsewhere.
	prefetches []float64
	content    map[uint16]*content // by channel
}

// content is a message whose frames are still coming.
type content struct {
	method method
	size   uint64
}

// recorder keeps the recordings of all connections through a proxy.
type recorder struct {
	mu          sync.Mutex
	connections []*recording
}

// record puts a proxy with a recorder before the broker.
func record(t testing.TB, u *rpc.TransportURL) (*recorder, *rpc.TransportURL) {
	t.Helper()
	r := &recorder{}
	p, url := newProxy(t, u)
	p.Tap(func() io.Writer {
		c := &recording{content: map[uint16]*content{}}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.connections = append(r.connections, c)
		return c
	})
	return r, url
}

// all are the methods of each connection, in the order in which they were made.
func (r *recorder) all() [][]method {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all [][]method
	for _, c := range r.connections {
		c.mu.Lock()
		all = append(all, append([]method(nil), c.methods...))
		c.mu.Unlock()
	}
	return all
}

// prefetches are the counts that all connections have asked for.
func (r *recorder) prefetches() []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []float64
	for _, c := range r.connections {
		c.mu.Lock()
		all = append(all, c.prefetches...)
		c.mu.Unlock()
	}
	return all
}

// published are the messages of all connections.
func (r *recorder) published() []method {
	var messages []method
	for _, methods := range r.all() {
		for _, m := range methods {
			if m.name == "basic.publish" {
				messages = append(messages, m)
			}
		}
	}
	return messages
}

// Write takes what the client sends, in pieces of any size.
func (c *recording) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, p...)
	if !c.greeted && len(c.pending) >= 8 { // "AMQP" and the version
		c.pending, c.greeted = c.pending[8:], true
	}
	for c.greeted && len(c.pending) >= 7 {
		size := int(binary.BigEndian.Uint32(c.pending[3:]))
		if len(c.pending) < size+8 {
			break
		}
		c.frame(c.pending[0], binary.BigEndian.Uint16(c.pending[1:]), c.pending[7:7+size])
		c.pending = c.pending[size+8:]
	}
	return len(p), nil
}

func (c *recording) frame(kind byte, channel uint16, payload []byte) {
	f := &fields{Reader: bytes.NewReader(payload)}
	switch kind {
	case 1: // method
		m, known := f.method()
		if known && m.name == "basic.publish" {
			c.content[channel] = &content{method: m}
		} else if known && m.name == "basic.qos" {
			c.prefetches = append(c.prefetches, m.args["prefetch_count"].(float64))
		} else if known {
			c.methods = append(c.methods, m)
		}
	case 2: // header
		f.number(4)
		in := c.content[channel]
		in.size = f.number(8)
		in.method.properties = f.properties()
		c.finish(channel)
	case 3: // body
		in := c.content[channel]
		in.method.body = append(in.method.body, payload...)
		c.finish(channel)
	}
}

func (c *recording) finish(channel uint16) {
	if in := c.content[channel]; uint64(len(in.method.body)) == in.size {
		c.methods = append(c.methods, in.method)
		delete(c.content, channel)
	}
}

// fields reads the domains of AMQP.
type fields struct{ *bytes.Reader }

func (f *fields) number(bytes int) (n uint64) {
	for range bytes {
		b, err := f.ReadByte()
		if err != nil {
			panic(err)
		}
		n = n<<8 | uint64(b)
	}
	return n
}

func (f *fields) text(size uint64) string {
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		panic(err)
	}
	return string(b)
}

func (f *fields) short() string { return f.text(f.number(1)) }
func (f *fields) long() string  { return f.text(f.number(4)) }

func (f *fields) table() map[string]any {
	t := map[string]any{}
	in := &fields{bytes.NewReader([]byte(f.long()))}
	for in.Len() > 0 {
		name := in.short()
		switch kind := in.number(1); kind {
		case 'S':
			t[name] = in.long()
		case 't':
			t[name] = in.number(1) == 1
		case 'I':
			t[name] = float64(int32(in.number(4)))
		case 'l':
			t[name] = float64(int64(in.number(8)))
		case 'F':
			t[name] = in.table()
		default:
			panic(fmt.Sprintf("field %s of kind %c", name, rune(kind)))
		}
	}
	return t
}

// domain is a method and its arguments: s is a short and S a long text, T a table, 2,
// 4 and 8 numbers of so many bytes, _ is reserved, and b are bits, which share an
// octet.
type domain struct {
	name string
	args [][2]string
}

// domains are the methods that are recorded.
var domains = map[[2]uint64]domain{
	{10, 11}: {"connection.start-ok", [][2]string{{"T", "client_props"}, {"s", "mechanism"}, {"S", "response"}, {"s", "locale"}}},
	{10, 31}: {"connection.tune-ok", [][2]string{{"2", "channel_max"}, {"4", "frame_max"}, {"2", "heartbeat"}}},
	{40, 10}: {"exchange.declare", [][2]string{{"_"}, {"s", "exchange"}, {"s", "type"}, {"b", "passive"}, {"b", "durable"}, {"b", "auto_delete"},
		{"b", "internal"}, {"b", "nowait"}, {"T", "arguments"}}},
	{50, 10}: {"queue.declare", [][2]string{{"_"}, {"s", "queue"}, {"b", "passive"}, {"b", "durable"}, {"b", "exclusive"}, {"b", "auto_delete"},
		{"b", "nowait"}, {"T", "arguments"}}},
	{50, 20}: {"queue.bind", [][2]string{{"_"}, {"s", "queue"}, {"s", "exchange"}, {"s", "routing_key"}, {"b", "nowait"}, {"T", "arguments"}}},
	{50, 40}: {"queue.delete", [][2]string{{"_"}, {"s", "queue"}, {"b", "if_unused"}, {"b", "if_empty"}, {"b", "nowait"}}},
	{60, 10}: {"basic.qos", [][2]string{{"4", "prefetch_size"}, {"2", "prefetch_count"}, {"b", "global"}}},
	{60, 20}: {"basic.consume", [][2]string{{"_"}, {"s", "queue"}, {"s", "consumer_tag"}, {"b", "no_local"}, {"b", "no_ack"}, {"b", "exclusive"},
		{"b", "nowait"}, {"T", "arguments"}}},
	{60, 40}: {"basic.publish", [][2]string{{"_"}, {"s", "exchange"}, {"s", "routing_key"}, {"b", "mandatory"}, {"b", "immediate"}}},
	{85, 10}: {"confirm.select", [][2]string{{"b", "nowait"}}},
}

func (f *fields) method() (method, bool) {
	d, known := domains[[2]uint64{f.number(2), f.number(2)}]
	if !known {
		return method{}, false
	}
	return f.arguments(d), true
}

func (f *fields) arguments(d domain) method {
	m := method{name: d.name, args: map[string]any{}}
	var bits uint64
	bit := -1
	for _, a := range d.args {
		kind, name := a[0], a[1]
		if kind != "b" {
			bit = -1
		}
		switch kind {
		case "_":
			f.number(2)
		case "s":
			m.args[name] = f.short()
		case "S":
			m.args[name] = f.long()
		case "T":
			m.args[name] = f.table()
		case "2":
			m.args[name] = float64(f.number(2))
		case "4":
			m.args[name] = float64(f.number(4))
		case "8":
			m.args[name] = f.number(8)
		case "b":
			if bit++; bit == 0 {
				bits = f.number(1)
			}
			m.args[name] = bits>>bit&1 == 1
		}
	}
	return m
}

// properties are those of class basic as far as they are set.
func (f *fields) properties() map[string]any {
	flags := f.number(2)
	p := map[string]any{}
	for i, name := range []string{
		"content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration",
		"message_id", "timestamp", "type", "user_id", "app_id",
	} {
		if flags>>(15-i)&1 == 0 {
			continue
		}
		switch name {
		case "headers":
			p[name] = f.table()
		case "delivery_mode", "priority":
			p[name] = f.number(1)
		case "timestamp":
			p[name] = f.number(8)
		default:
			p[name] = f.short()
		}
	}
	return p
}
