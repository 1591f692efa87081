// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// topology is what a Python peer declares with the same options.
type topology struct {
	durable, autoDelete bool
	args                amqp.Table // of the topic queues
	fanoutDurable       bool
	stream              amqp.Table // of the fanout stream; nil: a queue
}

// topologies are the rows of the protocol's option matrix.
var topologies = map[string]struct {
	options []string
	want    topology
}{
	"default":            {nil, topology{}},
	"durable":            {[]string{"amqp_durable_queues=true"}, topology{durable: true}},
	"auto delete":        {[]string{"amqp_auto_delete=true"}, topology{autoDelete: true}},
	"quorum":             {[]string{"rabbit_quorum_queue=true"}, topology{durable: true, args: amqp.Table{"x-queue-type": "quorum"}}},
	"ha":                 {[]string{"rabbit_ha_queues=true"}, topology{args: amqp.Table{"x-ha-policy": "all"}}},
	"transient quorum":   {[]string{"rabbit_transient_quorum_queue=true"}, topology{fanoutDurable: true}},
	"short-lived queues": {[]string{"rabbit_transient_queues_ttl=60"}, topology{}},
	"quorum limits": {
		[]string{"rabbit_quorum_queue=true", "rabbit_quorum_delivery_limit=7", "rabbit_quroum_max_memory_length=100", "rabbit_quorum_max_memory_bytes=100000"},
		topology{durable: true, args: amqp.Table{
			"x-queue-type": "quorum", "x-delivery-limit": int32(7), "x-max-in-memory-length": int32(100), "x-max-in-memory-bytes": int32(100000),
		}},
	},
	"stream": {
		[]string{"rabbit_stream_fanout=true", "rabbit_transient_quorum_queue=true", "rabbit_qos_prefetch_count=10"},
		topology{fanoutDurable: true, stream: amqp.Table{"x-queue-type": "stream", "x-max-age": "1800s"}},
	},
}

func TestChecklist10_TopologyOptions(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	for name, row := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := fast()
			for _, option := range row.options {
				key, value, _ := strings.Cut(option, "=")
				if err := o.Set(key, value); err != nil {
					t.Fatal(err)
				}
			}
			target := rpc.Target{Exchange: "x" + rpc.NewID()[:8], Topic: "r" + rpc.NewID()[:8], Server: "one"}
			checkTopology(t, u, o, target, row.want)
		})
	}
}

// checkTopology starts a server and declares the same as a peer would; the broker
// refuses the slightest difference.
func checkTopology(t *testing.T, u *rpc.TransportURL, o rabbit.Options, target rpc.Target, want topology) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	w := newWire(t, u)
	w.queues[target.Topic], w.queues[target.Topic+".one"] = true, true
	tr := connect(t, u, o)
	got := make(chan string, 4)
	server, err := rpc.NewServer(tr, target, []rpc.Endpoint{{Methods: map[string]rpc.Method{
		"echo": {Handler: func(context.Context, *rpc.Request) (any, error) { got <- "echo"; return "echo", nil }},
	}}}, rpc.ServerOptions{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	fanout := target.Topic + "_fanout"
	err = w.try(func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(target.Exchange, "topic", want.durable, want.autoDelete, false, false, nil); err != nil {
			return err
		}
		if err := ch.ExchangeDeclare(fanout, "fanout", want.fanoutDurable, true, false, false, nil); err != nil {
			return err
		}
		for _, name := range []string{target.Topic, target.Topic + ".one"} {
			if _, err := ch.QueueDeclare(name, want.durable, want.autoDelete, false, false, want.args); err != nil {
				return err
			}
		}
		if want.stream == nil {
			return nil
		}
		w.queues[fanout] = true
		_, err := ch.QueueDeclare(fanout, true, false, false, false, want.stream)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	client := rpc.NewClient(tr, rpc.Target{Exchange: target.Exchange, Topic: target.Topic}, rpc.ClientOptions{Timeout: soon})
	var text string
	if err := client.Call(ctx, nil, "echo", nil, &text); err != nil || text != "echo" {
		t.Errorf("call: %q, %v", text, err)
	}
	<-got
	if err := client.Prepare(func(to *rpc.Target) { to.Fanout = true }).Cast(ctx, nil, "echo", nil); err != nil {
		t.Errorf("fanout: %v", err)
	}
	select {
	case <-got:
	case <-time.After(soon):
		t.Error("no fanout")
	}
	if err := server.Stop(ctx); err != nil {
		t.Error(err)
	}
	_ = w.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(fanout, false, false) })
	_ = w.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(target.Exchange, false, false) })
}

func TestChecklist08_QueuesOfAServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for queue, args := range map[string]amqp.Table{
		w.target.Topic:          nil,
		w.target.Topic + ".one": {},
	} {
		if err := w.wire.try(func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(queue, false, false, false, false, args)
			return err
		}); err != nil {
			t.Error(err)
		}
		if n := w.consumers(queue); n != 1 {
			t.Errorf("%s has %d consumers", queue, n)
		}
	}
	w.mustCall("binding of the topic")
	if err := w.client.Prepare(func(to *rpc.Target) { to.Server = "one" }).Call(w.ctx, nil, "count", nil, nil); err != nil {
		t.Errorf("binding of the server: %v", err)
	}
}

func TestChecklist38_OneReplyQueueMadeWhenNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.clientP.accepted()
	if err := w.client.Cast(w.ctx, nil, "count", nil); err != nil {
		t.Fatal(err)
	}
	if n := w.clientP.accepted() - before; n != 1 || w.clientT.Stats().Consume.Connections != 0 {
		t.Errorf("a cast made %d connections, %+v", n, w.clientT.Stats())
	}
	w.mustCall("first")
	first, _ := w.clientT.Replies(w.ctx)
	w.mustCall("second")
	second, _ := w.clientT.Replies(w.ctx)
	if first != second || w.consumers(first.Queue()) != 1 {
		t.Errorf("%s, then %s", first.Queue(), second.Queue())
	}
	if err := w.wire.try(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(first.Queue(), false, false, false, false, amqp.Table{"x-expires": int32(1800000)})
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestChecklist12_ExchangeOfAnotherDurability(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	w := newWire(t, u)
	target := rpc.Target{Exchange: "x" + rpc.NewID()[:8], Topic: "r" + rpc.NewID()[:8], Server: "one"}
	w.queues[target.Topic], w.queues[target.Topic+".one"] = true, true
	if err := w.try(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(target.Exchange, "topic", false, false, false, false, nil)
	}); err != nil {
		t.Fatal(err)
	}
	o := fast()
	o.DurableQueues = true
	tr := connect(t, u, o)
	s, err := rpc.NewServer(tr, target, []rpc.Endpoint{{}}, rpc.ServerOptions{Ping: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(tr, rpc.Target{Exchange: target.Exchange, Topic: target.Topic}, rpc.ClientOptions{Timeout: soon})
	if err := c.Call(ctx, nil, "oslo_rpc_server_ping", nil, nil); err != nil {
		t.Error(err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	_ = w.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(target.Exchange, false, false) })
}

func TestChecklist13_Prefetch(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	for prefetch, want := range map[int]int{3: 3, 0: 4} {
		t.Run(fmt.Sprint(prefetch), func(t *testing.T) {
			t.Parallel()
			o := fast()
			o.PrefetchCount = prefetch
			w := newWire(t, u)
			target := rpc.Target{Topic: "r" + rpc.NewID()[:8], Server: "one"}
			w.queues[target.Topic+".one"] = true
			tr := connect(t, u, o)
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			held := make(chan rpc.Incoming, 100)
			l, err := tr.Listen(ctx, target, rpc.ListenOptions{Concurrency: 4}, func(m rpc.Incoming) { held <- m })
			if err != nil {
				t.Fatal(err)
			}
			queue := w.Bind(rpc.Target{Topic: target.Topic})
			c := rpc.NewClient(tr, rpc.Target{Topic: target.Topic}, rpc.ClientOptions{})
			for range 20 {
				if err := c.Cast(ctx, nil, "m", nil); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "the prefetched messages", func() bool { return len(held) == want && w.Len(queue) == 20-want })
			if err := (<-held).Ack(); err != nil {
				t.Error(err)
			}
			until(t, "the next message", func() bool { return w.Len(queue) == 19-want })
			if err := l.Close(ctx); err != nil {
				t.Error(err)
			}
			until(t, "the messages to go back", func() bool { return w.Len(queue) == 19 })
		})
	}
}
