// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

// A server that is busy for long leaves what it cannot begin to others.
func TestPrefetchLeavesWorkToOthers(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	w := newWire(t, u)
	topic := "r" + rpc.NewID()[:10]
	release := make(chan struct{})
	var runs [2]atomic.Int32
	const workers, casts = rpc.DefaultWorkers, 4 * rpc.DefaultWorkers
	serve := func(i int, name string) *rpc.Server {
		w.queues[topic], w.queues[topic+"."+name] = true, true
		s, err := rpc.NewServer(connect(t, u, fast()), rpc.Target{Topic: topic, Server: name}, []rpc.Endpoint{{Methods: map[string]rpc.Method{
			"m": {Handler: func(context.Context, *rpc.Request) (any, error) {
				runs[i].Add(1)
				<-release
				return nil, nil
			}},
		}}}, rpc.ServerOptions{Log: quiet()})
		if err == nil {
			err = s.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := serve(0, "one")
	c := rpc.NewClient(connect(t, u, fast()), rpc.Target{Topic: topic}, rpc.ClientOptions{})
	for range casts {
		if err := c.Cast(t.Context(), nil, "m", nil); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the first server to be busy", func() bool { return runs[0].Load() == workers })
	second := serve(1, "two")
	// However fast the messages have come, the first one has been sent less than twice
	// of what it can work on: 8, 16, 32 and 64 while its prefetch grew.
	until(t, "the second server's share", func() bool { return runs[1].Load() >= casts-3*workers })
	close(release)
	until(t, "all casts", func() bool { return runs[0].Load()+runs[1].Load() == casts })
	for _, s := range []*rpc.Server{first, second} {
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Messages that are acknowledged late are worked on side by side: the broker is asked
// for more while all that it sends ahead are in work, and for few again when messages
// wait for a worker.
func TestPrefetchFollowsTheWorkers(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	w := newWire(t, u)
	target := rpc.Target{Topic: "r" + rpc.NewID()[:10], Server: "one"}
	queue := w.Bind(rpc.Target{Topic: target.Topic})
	w.queues[queue+".one"] = true
	held := make(chan rpc.Incoming, 100)
	var slow atomic.Bool
	r, ru := record(t, u)
	l, err := connect(t, ru, fast()).Listen(t.Context(), target, rpc.ListenOptions{Concurrency: 32}, func(m rpc.Incoming) {
		if slow.Load() {
			time.Sleep(60 * time.Millisecond) // longer than a server that has a free worker
		}
		held <- m
	})
	if err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(connect(t, u, fast()), rpc.Target{Topic: target.Topic}, rpc.ClientOptions{})
	send := func(n int) {
		t.Helper()
		for range n {
			if err := c.Cast(t.Context(), nil, "m", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(8 + 16 + 32 + 1)
	until(t, "as many as there are workers", func() bool { return len(held) == 8+16+32 && w.Len(queue) == 1 })
	slow.Store(true)
	for range 8 + 16 + 32 {
		if err := (<-held).Ack(); err != nil {
			t.Error(err)
		}
	}
	until(t, "few again", func() bool { return len(r.prefetches()) == 6 })
	if diff := cmp.Diff([]float64{8, 8, 8, 16, 32, 8}, r.prefetches()); diff != "" {
		t.Error(diff)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
