// SPDX-License-Identifier: Apache-2.0

package torture

import (
	"context"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// remove deletes queues that a subtest has made.
func (w *world) remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		w.wire(t, func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(name, false, false, false)
			return err
		})
	}
}

// target is a server's of a topic of its own, whose queues go after the server.
func (w *world) target(t *testing.T, name string) rpc.Target {
	t.Helper()
	target := rpc.Target{Topic: w.topic + name, Server: "one"}
	t.Cleanup(func() { w.remove(t, target.Topic, target.Topic+".one") })
	return target
}

// deleted wants a queue that was deleted amid traffic to come back, without a new
// connection.
func (w *world) deleted(t *testing.T, name string) {
	t.Helper()
	before := w.connections()
	w.survives(t, true, func() {
		w.remove(t, name)
		until(t, "the queue", func() bool { return w.consumers(t, name) == 1 })
	})
	if n := w.connections() - before; n != 0 {
		t.Errorf("%d new connections", n)
	}
}

// consumers of a queue; -1 when there is no such queue.
func (w *world) consumers(t *testing.T, name string) (n int) {
	t.Helper()
	w.wire(t, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(name, false, false, false, false, nil)
		if n = q.Consumers; err != nil {
			n = -1
		}
		return nil
	})
	return n
}

func (w *world) topicDeleted(t *testing.T) { w.deleted(t, w.topic) }

func (w *world) serverQueueDeleted(t *testing.T) { w.deleted(t, w.topic+".one") }

func (w *world) fanoutDeleted(t *testing.T) {
	i := slices.IndexFunc(w.names, func(name string) bool { return strings.HasPrefix(name, w.topic+"_fanout") })
	w.deleted(t, w.names[i])
}

func (w *world) replyDeleted(t *testing.T) { w.deleted(t, w.replyQueue(t)) }

func (w *world) replyQueue(t *testing.T) string {
	t.Helper()
	r, err := w.client.transport.Replies(t.Context())
	must(t, err)
	return r.Queue()
}

// holding is a server of a topic of its own whose methods wait: "hold" before its
// request is acknowledged, "accepted" after that, so that its answer comes once or
// never.
type holding struct {
	topic          string
	begun, release chan struct{}
	runs           chan string // unique ids
}

func hold(t *testing.T, w *world, tr rpc.Transport) *holding {
	t.Helper()
	target := w.target(t, "hold"+rpc.NewID()[:4])
	h := &holding{topic: target.Topic, begun: make(chan struct{}, 10), release: make(chan struct{}), runs: make(chan string, 10)}
	wait := func(_ context.Context, r *rpc.Request) (any, error) {
		h.runs <- r.UniqueID
		h.begun <- struct{}{}
		<-h.release
		return "released", nil
	}
	begin(t, serve(t, tr, target, map[string]rpc.Method{
		"hold": {Delivery: rpc.UntilAccepted, Handler: wait},
		"accepted": {Delivery: rpc.UntilAccepted, Handler: func(ctx context.Context, r *rpc.Request) (any, error) {
			r.Accept()
			return wait(ctx, r)
		}},
	}))
	return h
}

// call begins a call that waits for the handler.
func (h *holding) call(t *testing.T, tr rpc.Transport, method string) <-chan error {
	t.Helper()
	answer := make(chan error, 1)
	c := rpc.NewClient(tr, rpc.Target{Topic: h.topic}, rpc.ClientOptions{Timeout: soon})
	ctx := t.Context()
	go func() { answer <- c.Call(ctx, nil, method, nil, nil) }()
	<-h.begun
	return answer
}

// end releases the handler, wants the answer, and one execution.
func (h *holding) end(t *testing.T, answer <-chan error) {
	t.Helper()
	close(h.release)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if n := len(h.runs); n != 1 {
		t.Errorf("%d executions", n)
	}
}

// consumerCancelled takes the queue of a request that is not acknowledged yet.
func (w *world) consumerCancelled(t *testing.T) {
	h := hold(t, w, w.server.transport)
	answer := h.call(t, w.client.transport, "hold")
	before := w.connections()
	w.remove(t, h.topic)
	until(t, "the consumer", func() bool { return w.consumers(t, h.topic) == 1 })
	ping(t, w.client.transport, h.topic)
	h.end(t, answer)
	ping(t, w.client.transport, h.topic)
	if n := w.connections() - before; n != 0 {
		t.Errorf("%d new connections", n)
	}
}

// replyMissing has a client lose its reply queue while it is away: the answer waits
// until it has declared the queue again.
func (w *world) replyMissing(t *testing.T) {
	h := hold(t, w, w.server.transport)
	answer := h.call(t, w.client.transport, "accepted")
	w.client.proxy.Refuse(true)
	w.client.proxy.Cut()
	queue := w.replyQueue(t)
	w.remove(t, queue)
	close(h.release)
	// Others are served meanwhile.
	ping(t, w.server.transport, h.topic)
	w.client.proxy.Refuse(false)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if now := w.replyQueue(t); now != queue {
		t.Errorf("reply queue %s became %s", queue, now)
	}
	until(t, "the client", w.client.up)
}

// declare404 has the broker delete what a client knows as declared: with
// amqp_auto_delete the exchange goes with the last server. The message is not lost in
// the closed channel; nobody takes it, and the caller is told so.
func (w *world) declare404(t *testing.T) {
	auto := func(o *rabbit.Options) { o.DurableQueues, o.AutoDelete = false, true }
	s, c := w.end(t, auto), w.end(t, auto)
	target := rpc.Target{Exchange: w.topic + "auto", Topic: w.topic + "auto", Server: "one"}
	client := rpc.NewClient(c.transport, rpc.Target{Exchange: target.Exchange, Topic: target.Topic}, rpc.ClientOptions{AtLeastOnce: true, Timeout: soon})
	for range 3 {
		server := serve(t, s.transport, target, nil)
		begin(t, server)
		must(t, client.Call(t.Context(), nil, "oslo_rpc_server_ping", nil, nil))
		must(t, server.Stop(t.Context()))
		until(t, "the exchange to go", func() bool { return !w.exchange(t, target.Exchange) })
		if err := client.Cast(t.Context(), nil, "oslo_rpc_server_ping", nil); err == nil || !strings.Contains(err.Error(), "no queue") {
			t.Errorf("a cast to nobody: %v", err)
		}
	}
	if a, b := s.transport.Stats(), c.transport.Stats(); a.Consume.Connections != 1 || b.Publish.Connections != 1 {
		t.Errorf("server %+v, client %+v", a, b)
	}
}

func (w *world) exchange(t *testing.T, name string) (there bool) {
	t.Helper()
	w.wire(t, func(ch *amqp.Channel) error {
		there = ch.ExchangeDeclarePassive(name, "topic", false, true, false, false, nil) == nil
		return nil
	})
	return there
}

// declare405 has another connection hold the queue for itself: a server waits for its
// turn.
func (w *world) declare405(t *testing.T) {
	target := w.target(t, "held")
	topic := target.Topic
	release := w.held(t, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(topic, false, false, true, false, nil)
		return err
	})
	s := w.end(t, nil)
	server := serve(t, s.transport, target, nil)
	started := make(chan error, 1)
	go func() { started <- server.Start(t.Context()) }()
	until(t, "three attempts", func() bool { return attempts(s.log, "RESOURCE_LOCKED", topic) >= 3 })
	if n := lines(s.log, "RESOURCE_LOCKED", topic); n != 1 {
		t.Errorf("%d lines about it", n)
	}
	release()
	must(t, <-started)
	ping(t, w.client.transport, topic)
	if n := s.transport.Stats().Consume.Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
}

// declare406 replaces a queue by one of other properties while its server is away: the
// server says what is wrong and goes on as soon as it can.
func (w *world) declare406(t *testing.T) {
	s := w.end(t, nil)
	target := w.target(t, "other")
	topic := target.Topic
	begin(t, serve(t, s.transport, target, nil))
	ping(t, w.client.transport, topic)
	s.proxy.Refuse(true)
	s.proxy.Reset()
	w.wire(t, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDelete(topic, false, false, false); err != nil {
			return err
		}
		_, err := ch.QueueDeclare(topic, true, false, false, false, amqp.Table{"x-max-length": int32(5)})
		return err
	})
	s.proxy.Refuse(false)
	refusal := []string{"PRECONDITION_FAILED", topic, "amqp_durable_queues"}
	until(t, "three attempts", func() bool { return attempts(s.log, refusal...) >= 3 })
	if n := lines(s.log, refusal...); n != 1 {
		t.Errorf("%d lines with the refusal and its advice", n)
	}
	if st := s.transport.Stats(); st.Consuming || !st.Consume.Connected {
		t.Errorf("%+v", st)
	}
	w.remove(t, topic)
	until(t, "the server", func() bool { return s.transport.Stats().Consuming })
	ping(t, w.client.transport, topic)
}
