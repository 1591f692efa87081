// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// startEnd ends a start, at the same time as the broker gets a method.
type startEnd struct {
	name string
	end  func(cancel context.CancelFunc, s *rpc.Server, tr *rabbit.Transport)
	// again says that the transport is still of use.
	again bool
}

var startEnds = []startEnd{
	{"cancel", func(cancel context.CancelFunc, _ *rpc.Server, _ *rabbit.Transport) { cancel() }, true},
	{"stop", func(_ context.CancelFunc, s *rpc.Server, _ *rabbit.Transport) {
		go func() { _ = s.Stop(context.Background()) }()
	}, true},
	{"close", func(_ context.CancelFunc, _ *rpc.Server, tr *rabbit.Transport) {
		go func() { _ = tr.Close(context.Background()) }()
	}, false},
}

// A start is ended at each method that it sends, before the broker's answer and after
// it. It returns, nothing of it is left at the broker, and another one succeeds.
func TestStartEndsAtAnyMethod(t *testing.T) {
	t.Parallel()
	for _, e := range startEnds {
		for _, when := range []string{"before", "after"} {
			t.Run(e.name+" "+when+" the answer", func(t *testing.T) {
				t.Parallel()
				n := 1
				for e.endAt(t, n, when) {
					n++
				}
				if n < 20 {
					t.Errorf("a start has sent %d methods", n)
				}
			})
		}
	}
}

// endAt reports whether the start has sent as many as n methods.
func (e startEnd) endAt(t *testing.T, n int, when string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	starting, stop := context.WithCancel(ctx)
	defer stop()
	var s *rpc.Server
	var tr *rabbit.Transport
	var count, begun atomic.Int64
	b := newScripted(t, func(on *scriptedChannel, m method) bool {
		if count.Add(1) != int64(n) {
			return true
		}
		if when == "after" {
			on.answer(m)
			if m.name == "basic.consume" {
				on.deliver(m.args["consumer_tag"].(string), request())
			}
		}
		e.end(stop, s, tr)
		return when == "before"
	})
	tr = connect(t, b.url, fast())
	create := func() *rpc.Server {
		s, err := rpc.NewServer(tr, rpc.Target{Topic: "topic", Server: "one"}, []rpc.Endpoint{{Methods: map[string]rpc.Method{
			"m": {Handler: func(context.Context, *rpc.Request) (any, error) { begun.Add(1); return nil, nil }},
		}}}, rpc.ServerOptions{Workers: 1, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s = create()
	started := make(chan error, 1)
	go func() { started <- s.Start(starting) }()
	select {
	case err := <-started:
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, rpc.ErrStopped) && !errors.Is(err, rpc.ErrClosed) {
			t.Fatalf("method %d: the start ended with %v", n, err)
		}
	case <-ctx.Done():
		t.Fatalf("method %d: the start has not ended", n)
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatalf("method %d: stop: %v", n, err)
	}
	if channels, queues := b.left(); e.again && (channels > 0 || strings.Contains(fmt.Sprint(queues), "fanout")) {
		t.Errorf("method %d: %d channels and queues %q are left", n, channels, queues)
	}
	if e.again {
		second := create()
		if err := second.Start(ctx); err != nil {
			t.Errorf("method %d: the next start: %v", n, err)
		}
		if err := second.Stop(ctx); err != nil {
			t.Errorf("method %d: the next stop: %v", n, err)
		}
	}
	// The broker may still be inside of the end when the start has returned: what it has counted is what tells.
	return count.Load() >= int64(n)
}

// A request that has come early waits for a worker, which is busy for long, when the
// start is cancelled: it goes back, and the start returns.
func TestStartEndsWhileItsWorkersAreBusy(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun, release := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	b := newScripted(t, func(on *scriptedChannel, m method) bool {
		answered := false
		if m.name == "basic.consume" {
			once.Do(func() {
				on.answer(m)
				on.deliver(m.args["consumer_tag"].(string), request())
				<-begun
				on.deliver(m.args["consumer_tag"].(string), request())
				cancel()
				answered = true
			})
		}
		return !answered
	})
	s, err := rpc.NewServer(connect(t, b.url, fast()), rpc.Target{Topic: "topic", Server: "one"}, []rpc.Endpoint{{Methods: map[string]rpc.Method{
		"m": {Handler: func(context.Context, *rpc.Request) (any, error) {
			begun <- struct{}{}
			<-release
			return nil, nil
		}},
	}}}, rpc.ServerOptions{Workers: 1, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- s.Start(ctx) }()
	if err := get(t, started, "the start"); !errors.Is(err, context.Canceled) {
		t.Errorf("the start ended with %v", err)
	}
	close(release)
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// request is one that comes without an envelope.
func request() string {
	return `{"method": "m", "args": {}, "_unique_id": "` + rpc.NewID() + `"}`
}
