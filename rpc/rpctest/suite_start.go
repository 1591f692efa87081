// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
)

// startChecks cover starts that are interrupted.
var startChecks = []check{
	{"Start_EndsAtAnyPoint", checkStartEnds},
	{"Start_OfAListenerEndsAtAnyPoint", checkListenerStartEnds},
}

// startable is a server or a listener for notifications.
type startable interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// disturbances are the ways to interrupt a start.
var disturbances = []func(s startable, cancel context.CancelFunc) error{
	func(_ startable, cancel context.CancelFunc) error { cancel(); return nil },
	func(s startable, _ context.CancelFunc) error { return s.Stop(context.Background()) },
	func(s startable, cancel context.CancelFunc) error {
		cancel()
		return s.Stop(context.Background())
	},
}

func signal() chan error { return make(chan error, 1) }

// runs counts how often each message was handled.
type runs struct {
	mu    sync.Mutex
	count map[string]int
}

func (r *runs) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[name]++
}

func (r *runs) of(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[name]
}

// all waits until every message has been handled.
func (r *runs) all(h *harness, sent []string) {
	h.t.Helper()
	for _, name := range sent {
		for r.of(name) == 0 {
			if h.ctx.Err() != nil {
				h.t.Fatalf("message %s is lost", name)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func checkStartEnds(t *testing.T, h *harness) {
	h.queue() // so that nothing is lost before the first start
	r := &runs{count: map[string]int{}}
	endpoint := methods("", map[string]rpc.Handler{"note": func(_ context.Context, q *rpc.Request) (any, error) {
		r.add(string(q.Args["n"]))
		return nil, nil
	}})
	c := h.client(rpc.ClientOptions{})
	end := h.traffic(func(name string) error {
		return c.Cast(h.ctx, nil, "note", map[string]any{"n": name})
	})
	h.disturbedStarts(func() startable {
		s, err := rpc.NewServer(h.Server, h.target, []rpc.Endpoint{endpoint}, rpc.ServerOptions{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
	h.serve(rpc.ServerOptions{}, endpoint)
	var sent []string
	for _, name := range end() {
		sent = append(sent, `"`+name+`"`)
	}
	r.all(h, sent)
	for _, name := range sent {
		if n := r.of(name); n != 1 {
			t.Errorf("message %s has come %d times", name, n)
		}
	}
}

func checkListenerStartEnds(t *testing.T, h *harness) {
	topic := h.target.Topic
	r := &runs{count: map[string]int{}}
	handler := func(_ context.Context, e *notify.Event) error {
		r.add(e.Type)
		return nil
	}
	n := h.notifier(notify.Info, topic)
	end := h.traffic(func(name string) error { return n.Info(h.ctx, nil, name, nil) })
	h.disturbedStarts(func() startable {
		l, err := notify.NewListener(h.carrier(h.Server), []notify.Source{{Topic: topic}},
			[]notify.Endpoint{{Handlers: map[notify.Priority]notify.Handler{notify.Info: handler}}}, notify.ListenerOptions{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
	h.listen(notify.ListenerOptions{}, notify.Info, handler, topic)
	r.all(h, end())
}
