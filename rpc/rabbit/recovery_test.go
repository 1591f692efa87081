// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// fast are options with short pauses.
func fast() rabbit.Options {
	o := rabbit.DefaultOptions()
	o.ReconnectDelay = 0.05
	return o
}

// world is a server and a client behind a proxy each.
type world struct {
	t              *testing.T
	ctx            context.Context
	target         rpc.Target
	serverT        *rabbit.Transport
	clientT        *rabbit.Transport
	serverP        *proxy
	clientP        *proxy
	client         *rpc.Client
	wire           *wire
	runs           atomic.Int32
	release, begun chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	u := brokerURL(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, target: rpc.Target{Topic: "r" + rpc.NewID()[:10], Server: "one"}, wire: newWire(t, u)}
	w.release, w.begun = make(chan struct{}), make(chan struct{}, 100)
	var su, cu *rpc.TransportURL
	w.serverP, su = newProxy(t, u)
	w.clientP, cu = newProxy(t, u)
	w.serverT, w.clientT = connect(t, su, fast()), connect(t, cu, fast())
	server, err := rpc.NewServer(w.serverT, w.target, []rpc.Endpoint{{Methods: map[string]rpc.Method{
		"count": {Handler: func(context.Context, *rpc.Request) (any, error) { return w.runs.Add(1), nil }},
		"held": {Handler: func(context.Context, *rpc.Request) (any, error) {
			w.begun <- struct{}{}
			<-w.release
			return "released", nil
		}},
	}}}, rpc.ServerOptions{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	w.client = rpc.NewClient(w.clientT, rpc.Target{Topic: w.target.Topic}, rpc.ClientOptions{Timeout: soon})
	w.wire.queues[w.target.Topic] = true
	w.wire.queues[w.target.Topic+".one"] = true
	return w
}

func (w *world) call(method string) (string, error) {
	var got any
	err := w.client.Call(w.ctx, nil, method, nil, &got)
	text, _ := got.(string)
	return text, err
}

func (w *world) mustCall(why string) {
	w.t.Helper()
	if _, err := w.call("count"); err != nil {
		w.t.Fatalf("%s: %v", why, err)
	}
}

// until waits for a condition of the outside world.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (w *world) serverUp(n uint64) func() bool {
	return func() bool { s := w.serverT.Stats().Consume; return s.Connected && s.Connections >= n }
}

func (w *world) consumers(queue string) int { return w.wire.consumers(queue) }

func TestChecklist47_ConnectionsLostDuringTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustCall("before")
	replies, err := w.clientT.Replies(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 400)
	for i := range 400 {
		go func() {
			_, err := w.call("count")
			done <- err
		}()
		if i == 100 {
			w.serverP.cut()
		}
		if i == 250 {
			w.clientP.cut()
		}
		time.Sleep(time.Millisecond)
	}
	for range 400 {
		// A request whose acknowledgement was on its way when the connection broke is
		// lost by the protocol's nature: only that may fail.
		if err := <-done; err != nil && !errors.Is(err, rpc.ErrTimeout) {
			t.Error(err)
		}
	}
	w.mustCall("after")
	again, err := w.clientT.Replies(w.ctx)
	if err != nil || again.Queue() != replies.Queue() {
		t.Errorf("reply queue %s became %v, %v", replies.Queue(), again, err)
	}
	if s := w.serverT.Stats(); s.Consume.Connections < 2 || s.Publish.Connections < 2 {
		t.Errorf("server: %+v", s)
	}
}

func TestChecklist48_TopicQueueDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustCall("before")
	start := w.serverP.accepted()
	w.wire.Delete(w.target.Topic)
	until(t, "the queue to come back", func() bool { return w.consumers(w.target.Topic) == 1 })
	w.mustCall("after")
	if n := w.serverP.accepted(); n != start {
		t.Errorf("%d new connections", n-start)
	}
	if err := w.client.Prepare(func(to *rpc.Target) { to.Server = "one" }).Call(w.ctx, nil, "count", nil, nil); err != nil {
		t.Error(err)
	}
}

func TestChecklist49_ReplyQueueDeletedDuringACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	replies, err := w.clientT.Replies(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		text, err := w.call("held")
		if text != "released" && err == nil {
			err = errors.New("answer is " + text)
		}
		answer <- err
	}()
	<-w.begun
	w.wire.Delete(replies.Queue())
	close(w.release)
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

func TestChecklist50_EverythingLostAndRedeclared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustCall("before")
	replies, err := w.clientT.Replies(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	// What a restart does to a topology that is not durable.
	for i := range 5 {
		w.serverP.set(true)
		w.clientP.set(true)
		for _, q := range []string{w.target.Topic, w.target.Topic + ".one", replies.Queue()} {
			_ = w.wire.try(func(ch *amqp.Channel) error { _, err := ch.QueueDelete(q, false, false, false); return err })
		}
		_ = w.wire.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(w.target.Topic+"_fanout", false, false) })
		w.serverP.set(false)
		w.clientP.set(false)
		until(t, "the server", func() bool { return w.serverUp(uint64(i+2))() && w.consumers(w.target.Topic) == 1 })
		w.mustCall("after")
	}
	before := w.runs.Load()
	fanout := w.client.Prepare(func(to *rpc.Target) { to.Fanout = true })
	if err := fanout.Cast(w.ctx, nil, "count", nil); err != nil {
		t.Fatal(err)
	}
	until(t, "the fanout", func() bool { return w.runs.Load() == before+1 })
}

func TestChecklist51_ChannelErrorsStayAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustCall("before")
	// The exchange vanishes behind the client's back: the publishing gets a 404,
	// which costs its channel, and is sent again to the exchange declared anew.
	fanout := w.client.Prepare(func(to *rpc.Target) { to.Fanout = true })
	if err := fanout.Cast(w.ctx, nil, "count", nil); err != nil {
		t.Fatal(err)
	}
	if err := w.wire.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(w.target.Topic+"_fanout", false, false) }); err != nil {
		t.Fatal(err)
	}
	if err := fanout.Cast(w.ctx, nil, "count", nil); err != nil {
		t.Fatal(err)
	}
	// A queue of other properties refuses a second server; the first one goes on.
	other := rpc.Target{Topic: w.target.Topic, Server: "two"}
	if err := w.wire.try(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(other.Topic+".two", false, false, false, false, amqp.Table{"x-max-length": int32(5)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.wire.queues[other.Topic+".two"] = true
	start := w.serverP.accepted()
	s, err := rpc.NewServer(w.serverT, other, []rpc.Endpoint{{}}, rpc.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Start(w.ctx)
	if err == nil || !strings.Contains(err.Error(), "amqp_durable_queues") || !strings.Contains(err.Error(), "PRECONDITION_FAILED") {
		t.Errorf("error is %v", err)
	}
	w.mustCall("after")
	if n := w.serverP.accepted(); n != start {
		t.Errorf("%d new connections", n-start)
	}
}

func TestChecklist06_SecondHostIsUsed(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	_, up := newProxy(t, u)
	p, down := newProxy(t, u)
	p.set(true)
	both := *u
	both.Hosts = []rpc.Host{down.Hosts[0], up.Hosts[0]}
	tr := connect(t, &both, fast())
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if _, err := tr.Replies(ctx); err != nil {
		t.Error(err)
	}
}

func TestChecklist54_BrokerDownAndRefusals(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	start := func(u *rpc.TransportURL, ctx context.Context) error {
		tr := connect(t, u, fast())
		target := rpc.Target{Topic: "r" + rpc.NewID()[:10], Server: "one"}
		s, err := rpc.NewServer(tr, target, []rpc.Endpoint{{}}, rpc.ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(t, brokerURL(t))
		w.queues[target.Topic], w.queues[target.Topic+".one"] = true, true
		defer func() { _ = s.Stop(context.Background()) }()
		return s.Start(ctx)
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	for name, change := range map[string]func(*rpc.TransportURL){
		"password": func(u *rpc.TransportURL) {
			h := u.Brokers()[0]
			h.Password = "very-wrong"
			u.Hosts = []rpc.Host{h}
		},
		"virtual host": func(u *rpc.TransportURL) { u.VirtualHost = "/nowhere" },
	} {
		wrong := *u
		change(&wrong)
		err := start(&wrong, ctx)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "very-wrong") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	p, away := newProxy(t, u)
	p.set(true)
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	if err := start(away, short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled start: %v", err)
	}
	time.AfterFunc(200*time.Millisecond, func() { p.set(false) })
	if err := start(away, ctx); err != nil {
		t.Errorf("late broker: %v", err)
	}
}

func TestChecklist53_ConfirmedOrAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.client.Cast(w.ctx, nil, "count", nil); err != nil {
		t.Fatal(err)
	}
	// A full queue that refuses is how a broker sends a negative confirm.
	topic := w.target.Topic + "full"
	if err := w.wire.try(func(ch *amqp.Channel) error {
		args := amqp.Table{"x-max-length": int32(0), "x-overflow": "reject-publish"}
		if _, err := ch.QueueDeclare(topic, false, false, false, false, args); err != nil {
			return err
		}
		return ch.QueueBind(topic, topic, rpc.DefaultExchange, false, nil)
	}); err != nil {
		t.Fatal(err)
	}
	w.wire.queues[topic] = true
	// The message is offered again for a while, which the sender can bound.
	once := 0
	err := w.clientT.Send(w.ctx, rpc.Target{Topic: topic}, rpc.Publishing{Body: []byte("{}"), Retry: &once})
	if !errors.Is(err, rpc.ErrDelivery) || !strings.Contains(err.Error(), "negative confirm") {
		t.Errorf("error is %v", err)
	}
	answer := make(chan error, 1)
	go func() {
		answer <- w.client.Prepare(func(to *rpc.Target) { to.Topic = topic }).Cast(w.ctx, nil, "count", nil)
	}()
	w.wire.Delete(topic)
	if err := <-answer; err != nil {
		t.Errorf("once nobody refuses: %v", err)
	}
	// Nothing is reported as sent while the way to the broker is cut.
	w.clientP.set(true)
	ctx, cancel := context.WithTimeout(w.ctx, 200*time.Millisecond)
	defer cancel()
	if err := w.client.Cast(ctx, nil, "count", nil); !errors.Is(err, rpc.ErrDelivery) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}
