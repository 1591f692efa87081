// SPDX-License-Identifier: Apache-2.0

package torture

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/test/load"
)

const (
	callers = 4
	// breath leaves the machine some time for the broker.
	breath = 5 * time.Millisecond
)

// traffic is the load of a world: calls of methods that read and of methods that
// start work, and casts that start work. It holds what both sides have seen.
type traffic struct {
	client  *rpc.Client
	callers []*load.Caller
	casts   int
	probes  int
	running sync.WaitGroup
	halt    context.CancelFunc

	mu       sync.Mutex
	runs     map[string]int      // executions, by unique id
	ran      map[string]int      // executions, by the sender's id
	answered map[string]struct{} // calls
	promised map[string]struct{} // casts that the broker has confirmed
	failed   map[string]int      // calls and casts without success, by reason
}

// newTraffic starts the server; run starts the senders.
func newTraffic(w *world) *traffic {
	l := &traffic{
		client: rpc.NewClient(w.client.transport, rpc.Target{Topic: w.topic}, rpc.ClientOptions{Timeout: callTimeout}),
		runs:   map[string]int{}, ran: map[string]int{}, failed: map[string]int{},
		answered: map[string]struct{}{}, promised: map[string]struct{}{},
	}
	begin(w.t, serve(w.t, w.server.transport, rpc.Target{Topic: w.topic, Server: "one"}, map[string]rpc.Method{
		"read": {Handler: l.handle},
		"start": {Delivery: rpc.UntilAccepted, Handler: func(ctx context.Context, r *rpc.Request) (any, error) {
			id, err := l.handle(ctx, r)
			r.Accept()
			return id, err
		}},
	}))
	for i := range callers {
		l.callers = append(l.callers, &load.Caller{
			Client: l.client, Methods: []string{"read", "start"}, Prefix: fmt.Sprintf("call%d-", i), Pause: breath, Report: l.called,
		})
	}
	return l
}

// handle enters the request in the ledger.
func (l *traffic) handle(_ context.Context, r *rpc.Request) (any, error) {
	var id string
	if err := r.Unpack(rpc.Required("id", &id)); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[r.UniqueID]++
	l.ran[id]++
	return id, nil
}

func (l *traffic) called(c load.Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Error != "" {
		l.failed[c.Error]++
		return
	}
	l.answered[c.ID] = struct{}{}
}

// reached probes the ways to the server one after the other, each again and again
// until it is open: by the topic, by the server's name and by fanout, for a request
// may still go down with what a fault has left behind.
func (l *traffic) reached(t *testing.T, ctx context.Context) {
	t.Helper()
	send := func(client *rpc.Client, do func(*rpc.Client, context.Context, map[string]any) error) bool {
		l.probes++
		id := fmt.Sprintf("probe-%d", l.probes)
		short, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := do(client, short, map[string]any{"id": id}); err != nil {
			return false
		}
		for short.Err() == nil {
			if l.executed(id) {
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	}
	for name, edit := range map[string]func(*rpc.Target){
		"topic": func(*rpc.Target) {}, "server": func(to *rpc.Target) { to.Server = "one" },
	} {
		until(t, "an answer by the "+name, func() bool {
			return send(l.client.Prepare(edit), func(c *rpc.Client, ctx context.Context, args map[string]any) error {
				return c.Call(ctx, nil, "read", args, nil)
			})
		})
	}
	until(t, "a fanout", func() bool {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return send(l.client.Prepare(func(to *rpc.Target) { to.Fanout = true }), func(c *rpc.Client, _ context.Context, args map[string]any) error {
			return c.Cast(short, nil, "start", args)
		})
	})
}

func (l *traffic) executed(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ran[id] > 0
}

// run lets traffic flow until stop.
func (l *traffic) run() {
	var ctx context.Context
	ctx, l.halt = context.WithCancel(context.Background())
	for _, c := range l.callers {
		l.running.Go(func() { c.Run(ctx) })
	}
	l.running.Go(func() {
		for ctx.Err() == nil {
			l.cast()
			time.Sleep(breath)
		}
	})
}

func (l *traffic) cast() {
	l.casts++
	id := fmt.Sprintf("cast-%d", l.casts)
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := l.client.Cast(ctx, nil, "start", map[string]any{"id": id})
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.promised[id] = struct{}{}
	case errors.Is(err, context.DeadlineExceeded):
		l.failed["cast not confirmed"]++
	default:
		l.failed[err.Error()]++
	}
}

// stop returns when nothing is under way.
func (l *traffic) stop() {
	l.halt()
	l.running.Wait()
}

// done counts the answered calls.
func (l *traffic) done() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answered)
}

// progress waits until that many more calls have been answered.
func (l *traffic) progress(t *testing.T, more int) {
	t.Helper()
	goal := l.done() + more
	until(t, fmt.Sprintf("%d more answers", more), func() bool { return l.done() >= goal })
}

// judge holds what has been executed against what has been sent. A call may have
// timed out, because its request or its answer went down with the broker or with its
// queue, and a cast may have been given up; nothing else may have happened. Messages
// that lay in a queue that was deleted are gone, then lossy is set.
func (l *traffic) judge(t *testing.T, lossy bool) {
	t.Helper()
	if !lossy {
		until(t, "the confirmed casts to be executed", func() bool { return len(l.lost()) == 0 })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for uniqueID, n := range l.runs {
		if n > 1 {
			t.Errorf("request %s was executed %d times", uniqueID, n)
		}
	}
	for id, n := range l.ran {
		if n > 1 {
			t.Errorf("what was sent as %s was executed %d times", id, n)
		}
	}
	for id := range l.answered {
		if l.ran[id] == 0 {
			t.Errorf("call %s was answered and never executed", id)
		}
	}
	for reason, n := range l.failed {
		if reason != load.Timeout && reason != "cast not confirmed" {
			t.Errorf("%d ended with: %s", n, reason)
		}
	}
	t.Logf("%d calls answered, %d casts confirmed, without success: %v", len(l.answered), len(l.promised), l.failed)
	// What has been judged stays in runs alone, where it must not come again.
	clear(l.answered)
	clear(l.failed)
	clear(l.promised)
}

// lost are the confirmed casts that have not been executed.
func (l *traffic) lost() map[string]struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := maps.Clone(l.promised)
	maps.DeleteFunc(left, func(id string, _ struct{}) bool { return l.ran[id] > 0 })
	return left
}
