// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is longer than anything that must happen takes.
const soon = 2 * time.Minute

// brokerURL skips the test without a broker.
func brokerURL(t testing.TB) *rpc.TransportURL {
	t.Helper()
	text := os.Getenv("RABBIT_URL")
	if text == "" {
		t.Skip("RABBIT_URL is not set: this test needs RabbitMQ")
	}
	u, err := rpc.ParseTransportURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func quiet() logrus.FieldLogger {
	l := logrus.New()
	if os.Getenv("RPC_TEST_VERBOSE") == "" {
		l.SetOutput(io.Discard)
	}
	l.SetLevel(logrus.DebugLevel)
	return l
}

// connect makes a transport that the test closes.
func connect(t testing.TB, u *rpc.TransportURL, o rabbit.Options) *rabbit.Transport {
	t.Helper()
	tr, err := rabbit.New(u, o, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if err := tr.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return tr
}

func TestConformance(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	limit := 0
	if os.Getenv("RABBIT_CTL") != "" {
		// No other test sends as much.
		limit = 8 << 20
		was := strings.TrimSpace(ctl(t, "eval", "{ok, N} = application:get_env(rabbit, max_message_size), N."))
		// RabbitMQ 3.10 reads the first for each channel, 4.0 the second.
		set := func(n string) {
			ctl(t, "eval", "application:set_env(rabbit, max_message_size, "+n+"), persistent_term:put(max_message_size, "+n+").")
		}
		set(strconv.Itoa(limit))
		t.Cleanup(func() { set(was) })
	}
	rpctest.Run(t, func(t *testing.T) rpctest.Pair {
		o := rabbit.DefaultOptions()
		w := newWire(t, u)
		return rpctest.Pair{Server: connect(t, u, o), Client: connect(t, u, o), Wire: w, MaxMessage: limit}
	})
}

// wire is a plain AMQP client beside the transports.
type wire struct {
	t    testing.TB
	u    *rpc.TransportURL
	conn *amqp.Connection

	mu     sync.Mutex
	ch     *amqp.Channel
	queues map[string]bool // to delete in the end
}

func newWire(t testing.TB, u *rpc.TransportURL) *wire {
	t.Helper()
	w := &wire{t: t, u: u, queues: map[string]bool{}}
	w.dial()
	t.Cleanup(func() {
		for q := range w.queues {
			_ = w.try(func(ch *amqp.Channel) error {
				_, err := ch.QueueDelete(q, false, false, false)
				return err
			})
		}
		_ = w.conn.Close()
	})
	return w
}

func (w *wire) dial() {
	w.t.Helper()
	h := w.u.Brokers()[0]
	conn, err := amqp.DialConfig("amqp://"+h.Address(), amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: h.User, Password: h.Password}}, Vhost: w.u.VirtualHost,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.conn = conn
	if w.ch, err = conn.Channel(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) do(f func(*amqp.Channel) error) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := f(w.ch); err != nil {
		w.t.Fatal(err)
	}
}

// try runs f on a channel of its own, which an error may close.
func (w *wire) try(f func(*amqp.Channel) error) error {
	w.t.Helper()
	if w.conn.IsClosed() { // some tests close all connections
		w.dial()
	}
	ch, err := w.conn.Channel()
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = ch.Close() }()
	return f(ch)
}

func (w *wire) Bind(target rpc.Target) string {
	name := target.Topic
	if target.Server != "" {
		name += "." + target.Server
	}
	w.do(func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(target.ExchangeName(), "topic", false, false, false, false, nil); err != nil {
			return err
		}
		if _, err := ch.QueueDeclare(name, false, false, false, false, nil); err != nil {
			return err
		}
		w.queues[name] = true
		return ch.QueueBind(name, name, target.ExchangeName(), false, nil)
	})
	return name
}

func (w *wire) Declare(queue string) {
	w.do(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(queue, false, false, false, false, amqp.Table{"x-expires": int64(600000)})
		return err
	})
}

func (w *wire) Delete(queue string) {
	w.do(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(queue, false, false, false)
		return err
	})
}

func (w *wire) Put(queue string, m rpctest.RawMessage) {
	p := amqp.Publishing{
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, DeliveryMode: m.DeliveryMode,
		Expiration: m.Expiration, Headers: amqp.Table{}, Body: m.Body,
	}
	for name, value := range m.Headers {
		p.Headers[name] = value
	}
	if m.Compression != "" {
		p.Headers["compression"] = m.Compression
	}
	w.do(func(ch *amqp.Channel) error { return ch.Publish("", queue, false, false, p) })
}

func (w *wire) Get(queue string, within time.Duration) (rpctest.RawMessage, bool) {
	deadline := time.Now().Add(within)
	for {
		var d amqp.Delivery
		var ok bool
		w.do(func(ch *amqp.Channel) (err error) {
			d, ok, err = ch.Get(queue, true)
			return err
		})
		if ok {
			compression, _ := d.Headers["compression"].(string)
			return rpctest.RawMessage{
				ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Compression: compression,
				DeliveryMode: d.DeliveryMode, Expiration: d.Expiration, Headers: texts(d.Headers), Body: d.Body,
			}, true
		}
		if time.Now().After(deadline) {
			return rpctest.RawMessage{}, false
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// texts are the headers of text beside the compression.
func texts(table amqp.Table) map[string]string {
	var headers map[string]string
	for name, value := range table {
		if text, ok := value.(string); ok && name != "compression" {
			if headers == nil {
				headers = map[string]string{}
			}
			headers[name] = text
		}
	}
	return headers
}

func (w *wire) Len(queue string) int {
	var q amqp.Queue
	w.do(func(ch *amqp.Channel) (err error) {
		q, err = ch.QueueDeclarePassive(queue, false, false, false, false, nil)
		return err
	})
	return q.Messages
}

// consumers counts those of a queue, 0 when it does not exist.
func (w *wire) consumers(queue string) int {
	n := 0
	_ = w.try(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(queue, false, false, false, false, nil)
		n = q.Consumers
		return err
	})
	return n
}
