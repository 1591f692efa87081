// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// streamListener hands on what each of the notes that arrive in a stream says.
func streamListener(ctx context.Context, t *testing.T, tr *rabbit.Transport, target rpc.Target) <-chan string {
	t.Helper()
	notes := make(chan string, 16)
	l, err := tr.Listen(ctx, target, rpc.ListenOptions{Concurrency: 1}, func(m rpc.Incoming) {
		payload, err := m.Payload()
		var request struct{ Args map[string]string }
		if err == nil {
			err = json.Unmarshal(payload, &request)
		}
		if err == nil {
			err = m.Ack()
		}
		if err != nil {
			t.Errorf("receiving: %v", err)
		}
		notes <- request.Args["k"]
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return notes
}

// A server that was away reads on behind the last message that it has seen: it
// misses no fanout and gets none twice. One that starts begins with the last chunk.
func TestChecklist11_StreamIsReadOnAfterAReconnect(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*soon)
	defer cancel()
	o := fast()
	o.StreamFanout, o.TransientQuorumQueue, o.PrefetchCount = true, true, 2
	target := rpc.Target{Exchange: "x" + rpc.NewID()[:10], Topic: "s" + rpc.NewID()[:10], Server: "one"}
	w := newWire(t, u)
	for _, queue := range []string{"", ".one", ".two", "_fanout"} {
		w.queues[target.Topic+queue] = true
	}
	t.Cleanup(func() {
		for _, exchange := range []string{target.Exchange, target.Topic + "_fanout"} {
			_ = w.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) })
		}
	})
	p, pu := newProxy(t, u)
	notes := streamListener(ctx, t, connect(t, pu, o), target)
	client := rpc.NewClient(connect(t, u, o), target, rpc.ClientOptions{}).Prepare(func(to *rpc.Target) { to.Fanout = true })
	send := func(list ...string) {
		t.Helper()
		for _, k := range list {
			if err := client.Cast(ctx, nil, "note", map[string]any{"k": k}); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect := func(from <-chan string, want ...string) {
		t.Helper()
		var got []string
		for range want {
			select {
			case k := <-from:
				got = append(got, k)
			case <-time.After(soon):
				t.Fatalf("waited in vain, got %q of %q", got, want)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	send("a", "b", "c")
	expect(notes, "a", "b", "c")
	p.set(true)
	send("d", "e", "f")
	p.set(false)
	expect(notes, "d", "e", "f")
	send("g")
	expect(notes, "g")
	other := target
	other.Server = "two"
	expect(streamListener(ctx, t, connect(t, u, o), other), "g")
	send("h")
	expect(notes, "h")
}

// What was not acknowledged when the connection broke comes again, with all behind it.
func TestStreamIsReadOnBehindWhatIsSettled(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*soon)
	defer cancel()
	o := fast()
	o.StreamFanout, o.TransientQuorumQueue, o.PrefetchCount = true, true, 8
	target := rpc.Target{Exchange: "x" + rpc.NewID()[:10], Topic: "s" + rpc.NewID()[:10], Server: "one"}
	w := newWire(t, u)
	for _, queue := range []string{"", ".one", "_fanout"} {
		w.queues[target.Topic+queue] = true
	}
	t.Cleanup(func() {
		for _, exchange := range []string{target.Exchange, target.Topic + "_fanout"} {
			_ = w.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) })
		}
	})
	p, pu := newProxy(t, u)
	held := make(chan rpc.Incoming, 16)
	l, err := connect(t, pu, o).Listen(ctx, target, rpc.ListenOptions{Concurrency: 8}, func(m rpc.Incoming) { held <- m })
	if err != nil {
		t.Fatal(err)
	}
	client := rpc.NewClient(connect(t, u, o), target, rpc.ClientOptions{}).Prepare(func(to *rpc.Target) { to.Fanout = true })
	for _, k := range []string{"a", "b", "c", "d"} {
		if err := client.Cast(ctx, nil, "note", map[string]any{"k": k}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) rpc.Incoming {
		t.Helper()
		m := get(t, held, "message "+want)
		payload, err := m.Payload()
		var request struct{ Args map[string]string }
		if err == nil {
			err = json.Unmarshal(payload, &request)
		}
		if err != nil || request.Args["k"] != want {
			t.Fatalf("got %s, %v, want %s", payload, err, want)
		}
		return m
	}
	a, b := expect("a"), expect("b")
	c := expect("c")
	expect("d")
	for _, m := range []rpc.Incoming{a, c} {
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	p.cut()
	for _, k := range []string{"b", "c", "d"} {
		m := expect(k)
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
	}
	if err := b.Ack(); err == nil {
		t.Error("a message of the old connection was acknowledged")
	}
	p.cut()
	if err := client.Cast(ctx, nil, "note", map[string]any{"k": "e"}); err != nil {
		t.Fatal(err)
	}
	expect("e")
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}
