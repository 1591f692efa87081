// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// A server of before 9.2.0 publishes its reply to an exchange named as the queue.
func TestChecklist46_ReplyThroughItsOwnExchange(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	w := newWire(t, u)
	o := fast()
	o.DirectReplyExchange = true
	tr := connect(t, u, o)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	queue := w.Bind(rpc.Target{Topic: "r" + rpc.NewID()[:10]})
	got := make(chan error, 1)
	var text string
	go func() {
		got <- rpc.NewClient(tr, rpc.Target{Topic: queue}, rpc.ClientOptions{Timeout: soon}).Call(ctx, nil, "m", nil, &text)
	}()
	m, ok := w.Get(queue, soon)
	if !ok {
		t.Fatal("no request")
	}
	replies, err := tr.Replies(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(string(m.Body), `_msg_id\": \"`)
	body := rpc.Envelope([]byte(`{"result": "old", "failure": null, "ending": true, "_msg_id": "` + id[:32] + `"}`))
	w.do(func(ch *amqp.Channel) error {
		return ch.Publish(replies.Queue(), replies.Queue(), false, false, amqp.Publishing{
			ContentType: rpc.ContentType, ContentEncoding: rpc.ContentEncoding, Body: body,
		})
	})
	if err := <-got; err != nil || text != "old" {
		t.Errorf("%q, %v", text, err)
	}
	// What such a server would declare itself is what is there.
	if err := w.try(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(replies.Queue(), "direct", false, true, false, false, nil)
	}); err != nil {
		t.Error(err)
	}
	w.queues[replies.Queue()] = true
}

func TestChecklist62_CompressedOnTheWire(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	w := newWire(t, u)
	o := fast()
	o.Compression = "gzip"
	queue := w.Bind(rpc.Target{Topic: "r" + rpc.NewID()[:10]})
	c := rpc.NewClient(connect(t, u, o), rpc.Target{Topic: queue}, rpc.ClientOptions{})
	if err := c.Cast(t.Context(), nil, "hello", nil); err != nil {
		t.Fatal(err)
	}
	m, ok := w.Get(queue, soon)
	if !ok || m.Compression != "application/x-gzip" || m.ContentType != rpc.ContentType {
		t.Fatalf("%+v", m)
	}
	// kombu's gzip is a zlib stream.
	z, err := zlib.NewReader(bytes.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(plain, []byte("hello")) {
		t.Errorf("%s, %v", plain, err)
	}
}

func TestChecklist62_LoginOnTheWire(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{"AMQPLAIN": "AMQPLAIN", "PLAIN": "PLAIN"} {
		o := fast()
		o.LoginMethod = option
		r, u := record(t, brokerURL(t))
		_ = rpc.NewClient(connect(t, u, o), rpc.Target{Topic: "r" + rpc.NewID()}, rpc.ClientOptions{}).Cast(t.Context(), nil, "m", nil)
		methods := r.all()[0]
		if methods[0].name != "connection.start-ok" || methods[0].args["mechanism"] != want {
			t.Errorf("%s: %+v", option, methods[0])
		}
	}
}

func TestChecklist62_QueueManagerOnTheWire(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	w := newWire(t, u)
	o := fast()
	o.UseQueueManager, o.Hostname, o.ProcessName = true, "node1", "p"+rpc.NewID()[:10]
	target := rpc.Target{Topic: "r" + rpc.NewID()[:10], Server: "one"}
	w.queues[target.Topic], w.queues[target.Topic+".one"] = true, true
	suffix := o.Hostname + ":" + o.ProcessName + ":"
	fanout := target.Topic + "_fanout_" + suffix + "1"
	w.queues[fanout] = true
	// A second life of the process finds the queues of the first.
	for range 2 {
		tr := connect(t, u, o)
		s, err := rpc.NewServer(tr, target, []rpc.Endpoint{{}}, rpc.ServerOptions{Ping: true})
		if err == nil {
			err = s.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		replies, err := tr.Replies(t.Context())
		if err != nil || !strings.HasPrefix(replies.Queue(), "reply_"+suffix) {
			t.Errorf("%v, %v", replies, err)
		}
		w.queues[replies.Queue()] = true
		if n := w.consumers(fanout); n != 1 {
			t.Errorf("%s has %d consumers", fanout, n)
		}
		if err := errors.Join(s.Stop(t.Context()), tr.Close(t.Context())); err != nil {
			t.Error(err)
		}
		if n := w.consumers(fanout); n != 0 {
			t.Errorf("%s has %d consumers after the stop", fanout, n)
		}
	}
}

// A notifier gives up after as many attempts as its option allows.
func TestChecklist59_RetriesOfANotifier(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	u, err := rpc.ParseTransportURL("rabbit://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	notifier := func(retry *int) *notify.Notifier {
		return notify.New("p", notify.Options{}, notify.Messaging(connect(t, u, rabbit.DefaultOptions()), notify.MessagingOptions{Retry: retry}))
	}
	for _, retry := range []int{0, 1} {
		if err := notifier(&retry).Info(t.Context(), nil, "e", nil); !errors.Is(err, rpc.ErrDelivery) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("retry %d: %v", retry, err)
		}
	}
	for _, retry := range []*int{nil, new(int)} {
		if retry != nil {
			*retry = -1
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := notifier(retry).Info(ctx, nil, "e", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a bound: %v", err)
		}
		cancel()
	}
}
