// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// served is a server of one worker on the topic of a scripted broker.
type served struct {
	*scripted
	transport *rabbit.Transport
	server    *rpc.Server
	log       *logs
	begun     chan string   // the unique ids of requests
	release   chan struct{} // lets one handler end
}

// logs collects what is logged.
type logs struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// serve starts it; a handler ends when it is released.
func serve(t *testing.T, b *scripted, delivery rpc.Delivery) *served {
	t.Helper()
	s := &served{scripted: b, log: &logs{}, begun: make(chan string, 16), release: make(chan struct{}, 16)}
	log := logrus.New()
	log.SetOutput(s.log)
	var err error
	if s.transport, err = rabbit.New(b.url, fast(), log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.transport.Close(context.Background()) })
	s.server, err = rpc.NewServer(s.transport, rpc.Target{Topic: "topic", Server: "one"}, []rpc.Endpoint{{Methods: map[string]rpc.Method{
		"m": {Delivery: delivery, Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			s.begun <- r.UniqueID
			<-s.release
			return nil, nil
		}},
	}}}, rpc.ServerOptions{Workers: 1, Log: quiet()})
	if err == nil {
		err = s.server.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stop ends the server.
func (s *served) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := s.server.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func get[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func requestOf(id string) string { return `{"method": "m", "args": {}, "_unique_id": "` + id + `"}` }

// A broker up to 4.2 closes the channel of a consumer that does not acknowledge in
// time. What had not begun comes again and runs once.
func TestConsumerTimeoutClosesTheChannel(t *testing.T) {
	t.Parallel()
	s := serve(t, newScripted(t, nil), rpc.AtMostOnce)
	ch, tag := s.consumer("topic")
	ch.deliver(tag, requestOf("first"))
	if id := get(t, s.begun, "the first request"); id != "first" {
		t.Error(id)
	}
	ch.deliver(tag, requestOf("second")) // waits for the worker
	ch.fail(406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms. This timeout value can be configured")
	until(t, "another channel", func() bool { on, _ := s.consumer("topic"); return on != nil && s.transport.Stats().Consuming })
	again, tag := s.consumer("topic")
	again.deliver(tag, requestOf("second"))
	s.release <- struct{}{}
	if id := get(t, s.begun, "the second request"); id != "second" {
		t.Error(id)
	}
	s.release <- struct{}{}
	s.release <- struct{}{}
	s.stop(t)
	if len(s.begun) != 0 {
		t.Error("a request has run twice")
	}
	if n := s.transport.Stats().Consume.Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
	if text := s.log.String(); !strings.Contains(text, "consumer_timeout") {
		t.Errorf("the log does not name what to look at: %s", text)
	}
}

// A broker from 4.3 on cancels the consumer and keeps the channel; late
// acknowledgements mean nothing to it.
func TestConsumerTimeoutCancelsTheConsumer(t *testing.T) {
	t.Parallel()
	s := serve(t, newScripted(t, nil), rpc.UntilAccepted)
	ch, tag := s.consumer("topic")
	ch.deliver(tag, requestOf("first"))
	get(t, s.begun, "the first request")
	ch.cancel(tag)
	var next string
	until(t, "another consumer", func() bool {
		on, tag := s.consumer("topic")
		next = tag
		return on == ch && s.transport.Stats().Consuming
	})
	// A broker may know the old tag until it is told that the cancel was understood.
	if next == tag {
		t.Errorf("consumer tag %s is used again", tag)
	}
	ch.deliver(next, requestOf("first")) // the broker has taken it back: it joins the first
	s.release <- struct{}{}
	until(t, "both acknowledgements", func() bool {
		acked := 0
		for _, a := range s.sent("basic.ack") {
			acked++
			if a["multiple"].(bool) {
				acked++
			}
		}
		return acked == 2
	})
	ch.deliver(next, requestOf("second"))
	if id := get(t, s.begun, "the second request"); id != "second" {
		t.Error(id)
	}
	s.release <- struct{}{}
	s.stop(t)
	if opened := len(s.sent("channel.open")) - len(s.sent("channel.close")); opened != 0 {
		t.Errorf("%d channels are open", opened)
	}
}

// What has not begun goes back by basic.nack, which no delivery limit counts from 4.3
// on, and what is no request is rejected.
func TestGivenBackIsNacked(t *testing.T) {
	t.Parallel()
	s := serve(t, newScripted(t, nil), rpc.AtMostOnce)
	ch, tag := s.consumer("topic")
	ch.deliver(tag, `no request`)
	ch.deliver(tag, requestOf("first"))
	get(t, s.begun, "the first request")
	ch.deliver(tag, requestOf("second"))
	stopped := make(chan error, 1)
	go func() { stopped <- s.server.Stop(t.Context()) }()
	until(t, "the second one to go back", func() bool { return len(s.sent("basic.nack")) == 1 })
	s.release <- struct{}{}
	if err := get(t, stopped, "the stop"); err != nil {
		t.Error(err)
	}
	want := []map[string]any{{"delivery_tag": uint64(3), "multiple": false, "requeue": true}}
	if diff := cmp.Diff(want, s.sent("basic.nack")); diff != "" {
		t.Error(diff)
	}
	want = []map[string]any{{"delivery_tag": uint64(1), "requeue": false}}
	if diff := cmp.Diff(want, s.sent("basic.reject")); diff != "" {
		t.Error(diff)
	}
}

// The broker cancels a consumer at the moment at which the server does.
func TestStopWhileTheBrokerCancels(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("after the stop %v", late), func(t *testing.T) {
			t.Parallel()
			var b *scripted
			var once sync.Once
			b = newScripted(t, func(on *scriptedChannel, m method) bool {
				toAnswer := true
				if m.name == "basic.cancel" {
					once.Do(func() {
						if toAnswer = !late; late {
							on.answer(m)
						}
						for _, queue := range []string{"topic", "topic.one"} {
							if on, tag := b.consumer(queue); on != nil {
								on.cancel(tag)
							}
						}
					})
				}
				return toAnswer
			})
			s := serve(t, b, rpc.AtMostOnce)
			s.stop(t)
		})
	}
}

// The stop comes while the server brings a consumer back, and the broker answers late.
func TestStopWhileAConsumerIsBroughtBack(t *testing.T) {
	t.Parallel()
	back := make(chan func(), 1)
	var consumed atomic.Int64
	s := serve(t, newScripted(t, func(on *scriptedChannel, m method) bool {
		if m.name != "basic.consume" || consumed.Add(1) <= 3 {
			return true
		}
		back <- func() { on.answer(m) }
		return false
	}), rpc.AtMostOnce)
	ch, tag := s.consumer("topic")
	ch.cancel(tag)
	answer := get(t, back, "the consumer")
	stopped := make(chan error, 1)
	go func() { stopped <- s.server.Stop(t.Context()) }()
	// A stop that does not wait for the answer would send its own questions by now.
	time.Sleep(50 * time.Millisecond)
	answer()
	if err := get(t, stopped, "the stop"); err != nil {
		t.Error(err)
	}
}

// A server that lacks one of its consumers does not count as consuming, for as long
// as it cannot have it.
func TestConsumingNeedsEveryConsumer(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	b := newScripted(t, func(on *scriptedChannel, m method) bool {
		if m.name == "queue.declare" && m.args["queue"] == "topic" && refuse.Load() {
			on.fail(406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'topic'")
			return false
		}
		return true
	})
	s := serve(t, b, rpc.AtMostOnce)
	if !s.transport.Stats().Consuming {
		t.Error("not consuming after the start")
	}
	refuse.Store(true)
	ch, tag := b.consumer("topic")
	ch.cancel(tag)
	until(t, "the loss to show", func() bool { return !s.transport.Stats().Consuming })
	until(t, "a second attempt", func() bool { return strings.Contains(s.log.String(), "could not be brought back") })
	if s.transport.Stats().Consuming {
		t.Error("consuming without a consumer")
	}
	refuse.Store(false)
	until(t, "the consumer", func() bool { return s.transport.Stats().Consuming })
	s.stop(t)
}

// A broker that has lost the consumer of a reply queue says nothing. A call that has
// waited in vain makes the client look, and consume anew.
func TestLostReplyConsumerIsNoticed(t *testing.T) {
	t.Parallel()
	b := newScripted(t, nil)
	tr := connect(t, b.url, fast())
	replies, err := tr.Replies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A call may end before it was sent, on a busy machine: then it has not waited for an
	// answer, and the next one will.
	calls := func(ok func() bool) func() bool {
		c := rpc.NewClient(tr, rpc.Target{Topic: "topic"}, rpc.ClientOptions{Timeout: 20 * time.Millisecond})
		return func() bool {
			if err := c.Call(t.Context(), nil, "m", nil, nil); !errors.Is(err, rpc.ErrTimeout) {
				t.Errorf("call: %v", err)
			}
			return ok()
		}
	}
	consumed := func() int {
		return len(slices.DeleteFunc(b.sent("basic.consume"), func(args map[string]any) bool { return args["queue"] != replies.Queue() }))
	}
	b.mu.Lock()
	b.queues[replies.Queue()] = 1
	b.mu.Unlock()
	looks := func() int { return len(b.sent("queue.declare")) }
	before := looks()
	until(t, "the look", calls(func() bool { return looks() > before }))
	if n := consumed(); n != 1 {
		t.Errorf("consumed %d times", n)
	}
	b.mu.Lock()
	b.queues[replies.Queue()] = 0
	b.mu.Unlock()
	until(t, "another consumer", calls(func() bool { return consumed() > 1 }))
	if again, err := tr.Replies(t.Context()); err != nil || again.Queue() != replies.Queue() {
		t.Errorf("reply queue %s became %v, %v", replies.Queue(), again, err)
	}
}

// The interval of heartbeats is the smaller one of both sides, and none when the
// option says so.
func TestHeartbeatsAreNegotiated(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ broker, option, want int }{
		{60, 0, 0}, {0, 0, 0}, {60, 10, 10}, {20, 60, 20}, {0, 30, 30},
	} {
		t.Run(fmt.Sprint(row), func(t *testing.T) {
			t.Parallel()
			b := newScripted(t, nil)
			b.heartbeat = uint16(row.broker)
			o := fast()
			o.HeartbeatThreshold = row.option
			if _, err := connect(t, b.url, o).Replies(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := b.sent("connection.tune-ok")[0]["heartbeat"]; got != float64(row.want) {
				t.Errorf("heartbeat is %v, want %d", got, row.want)
			}
		})
	}
}

// Somebody else declares the queue with other properties while it is gone.
func TestConsumingWithoutItsQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_ = w.wire.try(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(w.target.Topic, false, false, false)
		return err
	})
	declared := false
	until(t, "another's queue", func() bool {
		declared = declared || w.wire.try(func(ch *amqp.Channel) error {
			if _, err := ch.QueueDelete(w.target.Topic, false, false, false); err != nil {
				return err
			}
			_, err := ch.QueueDeclare(w.target.Topic, true, false, false, false, nil)
			return err
		}) == nil
		return declared && !w.serverT.Stats().Consuming
	})
	if n := w.consumers(w.target.Topic); n != 0 {
		t.Errorf("%d consumers", n)
	}
	w.wire.Delete(w.target.Topic)
	until(t, "the server", func() bool { return w.serverT.Stats().Consuming })
	w.mustCall("afterwards")
}

// The broker loses queues while their server stops.
func TestStopWhileQueuesAreDeleted(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	tr := connect(t, u, fast())
	w := newWire(t, u)
	for i := range 40 {
		target := rpc.Target{Topic: "r" + rpc.NewID()[:10], Server: "one"}
		w.queues[target.Topic], w.queues[target.Topic+".one"] = true, true
		s, err := rpc.NewServer(tr, target, []rpc.Endpoint{{}}, rpc.ServerOptions{})
		if err == nil {
			err = s.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		deleted := make(chan struct{})
		go func() {
			defer close(deleted)
			_ = w.try(func(ch *amqp.Channel) error {
				_, _ = ch.QueueDelete(target.Topic, false, false, true)
				_, err := ch.QueueDelete(target.Topic+".one", false, false, false)
				return err
			})
		}()
		time.Sleep(time.Duration(i%16) * 500 * time.Microsecond) // another point of the deletion each time
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop %d: %v", i, err)
		}
		cancel()
		<-deleted
	}
}
