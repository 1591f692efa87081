// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// BenchmarkAnswer is what a call costs a server from the frames of its request to
// the frames of its reply and their confirm. In the place of a broker there is as
// little as can be, so that what is left is this package's and the library's; it
// keeps 128 requests waiting for an answer.
func BenchmarkAnswer(b *testing.B) {
	broker := newLean(b)
	server, err := rpc.NewServer(connect(b, broker.url(b), rabbit.DefaultOptions()), rpc.Target{Topic: "t", Server: "s"},
		[]rpc.Endpoint{{Methods: map[string]rpc.Method{"echo": {Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			return map[string]any{"ctxt": r.Context, "kw": r.Args}, nil
		}}}}}, rpc.ServerOptions{})
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	broker.serve(b.N)
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N)/1000, "cpu-us/call")
	b.StopTimer()
	_ = server.Stop(context.Background())
	close(broker.orders)
}

// lean is a broker that gives every method its usual answer and knows one queue.
type lean struct {
	listener net.Listener
	orders   chan int      // requests to have answered
	done     chan struct{} // they are
}

// leanWindow is how many requests wait for their answers.
const leanWindow = 128

func newLean(b *testing.B) *lean {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	s := &lean{listener: l, orders: make(chan int), done: make(chan struct{})}
	answered := make(chan int, 2*leanWindow)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go (&leanClient{lean: s, conn: c, in: bufio.NewReaderSize(c, 1<<16), answered: answered,
				tags: map[uint16]uint64{}, confirmed: map[uint16]uint64{}, news: map[uint16]bool{}}).run()
		}
	}()
	return s
}

func (s *lean) url(b *testing.B) *rpc.TransportURL {
	u, err := rpc.ParseTransportURL("rabbit://guest:guest@" + s.listener.Addr().String() + "/")
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// serve has n requests answered.
func (s *lean) serve(n int) {
	s.orders <- n
	<-s.done
}

// leanClient is one connection.
type leanClient struct {
	*lean
	conn      net.Conn
	in        *bufio.Reader
	out       []byte
	answered  chan int // replies that came together
	consumes  bool
	tags      map[uint16]uint64 // of publishings, by channel
	confirmed map[uint16]uint64
	news      map[uint16]bool // channels with unconfirmed ones
}

// leanAnswers are the methods of a client and the arguments of what answers them.
var leanAnswers = map[[2]uint16]string{
	{10, 40}: "\x00", {10, 50}: "", {20, 10}: "\x00\x00\x00\x00", {20, 40}: "", {40, 10}: "",
	{50, 10}: "\x01q\x00\x00\x00\x00\x00\x00\x00\x00", {50, 20}: "", {50, 40}: "\x00\x00\x00\x00",
	{60, 10}: "", {60, 20}: "\x011", {85, 10}: "",
}

func (c *leanClient) run() {
	defer c.conn.Close()
	if _, err := io.CopyN(io.Discard, c.in, int64(len("AMQP")+4)); err != nil {
		return
	}
	c.method(0, 10, 10, "\x00\x09\x00\x00\x00\x00\x00\x00\x00\x0eAMQPLAIN PLAIN\x00\x00\x00\x05en_US")
	for {
		if c.in.Buffered() == 0 && !c.flush() {
			return
		}
		var head [7]byte
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint32(head[3:]))
		id, err := c.in.Peek(min(size, 6))
		if err != nil {
			return
		}
		if head[0] == 1 {
			c.handle(binary.BigEndian.Uint16(head[1:]), [2]uint16{binary.BigEndian.Uint16(id), binary.BigEndian.Uint16(id[2:])}, id[4:])
		}
		if _, err := c.in.Discard(size + 1); err != nil {
			return
		}
	}
}

// handle answers a method, whose arguments begin with those bytes.
func (c *leanClient) handle(channel uint16, m [2]uint16, arguments []byte) {
	answer, usual := leanAnswers[m]
	switch {
	case m == [2]uint16{60, 40}:
		c.tags[channel]++
		c.news[channel] = true
	case m == [2]uint16{60, 30}: // with the consumer tag, which has one letter
		c.method(channel, 60, 31, string(arguments))
	case m == [2]uint16{10, 11}:
		c.method(0, 10, 30, "\x07\xff\x00\x02\x00\x00\x00\x3c")
	case usual:
		c.method(channel, m[0], m[1]+1, answer)
		if m == [2]uint16{60, 20} && !c.consumes {
			c.consumes = true
			go c.deliver(channel)
		}
	}
}

// flush confirms what has been published since it did last, and answers.
func (c *leanClient) flush() bool {
	replies := 0
	for channel := range c.news {
		tag := c.tags[channel]
		c.method(channel, 60, 80, string(binary.BigEndian.AppendUint64(nil, tag))+"\x01")
		replies += int(tag - c.confirmed[channel])
		c.confirmed[channel] = tag
	}
	clear(c.news)
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	if replies > 0 {
		c.answered <- replies
	}
	return err == nil
}

// deliver sends requests to the consumer, a new one for each that was answered.
func (c *leanClient) deliver(channel uint16) {
	m := &leanClient{conn: c.conn}
	tag := uint64(0)
	send := func(n int) bool {
		for range n {
			tag++
			m.request(channel, tag)
		}
		_, err := m.conn.Write(m.out)
		m.out = m.out[:0]
		return err == nil
	}
	for n := range c.orders {
		sent := min(n, leanWindow)
		for answered, ok := 0, send(sent); answered < n; {
			if !ok {
				return
			}
			news := <-c.answered
			answered += news
			more := min(news, n-sent)
			sent += more
			ok = send(more)
		}
		c.done <- struct{}{}
	}
}

// request appends the frames of a request with ids of its own.
func (c *leanClient) request(channel uint16, tag uint64) {
	body := fmt.Sprintf(leanRequest, tag, tag)
	c.method(channel, 60, 60, "\x011"+string(binary.BigEndian.AppendUint64(nil, tag))+"\x00\x09openstack\x01t")
	header := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(body)))
	header = append(header, 0xd1, 0x00)
	c.frame(2, channel, string(header)+"\x10application/json\x05utf-8\x02\x0560000")
	c.frame(3, channel, body)
}

func (c *leanClient) method(channel, class, method uint16, arguments string) {
	id := binary.BigEndian.AppendUint16(nil, class)
	c.frame(1, channel, string(binary.BigEndian.AppendUint16(id, method))+arguments)
}

func (c *leanClient) frame(kind byte, channel uint16, payload string) {
	c.out = binary.BigEndian.AppendUint16(append(c.out, kind), channel)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(len(payload)))
	c.out = append(append(c.out, payload...), 0xce)
}

// leanRequest is about what an API sends.
const leanRequest = `{"oslo.version": "2.0", "oslo.message": "{\"method\": \"echo\", \"args\": {\"plan_id\": ` +
	`\"11111111-2222-3333-4444-555555555555\", \"n\": 1}, \"version\": \"1.0\", \"_msg_id\": \"%032x\", \"_reply_q\": ` +
	`\"reply_5a7e4c1b2d3f4a5b8c9d0e1f2a3b4c5d\", \"_timeout\": null, \"_unique_id\": \"%032x\", ` +
	`\"_context_user_id\": \"5a7e4c1b2d3f4a5b8c9d0e1f2a3b4c5d\", \"_context_project_id\": \"0f1e2d3c4b5a69788796a5b4c3d2e1f0\", ` +
	`\"_context_roles\": [\"admin\", \"member\", \"reader\"], \"_context_is_admin\": true, \"_context_read_deleted\": \"no\", ` +
	`\"_context_request_id\": \"req-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed\", \"_context_auth_token\": ` +
	`\"gAAAAABm0000000000000000000000000000000000000000\", \"_context_timestamp\": \"2026-01-01T00:00:00.000000\"}"}`
