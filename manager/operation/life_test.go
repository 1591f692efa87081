// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// life is one process: it dies, or is stopped, at a moment that was drawn. Once
// it is dead nothing that it does has an effect any more.
type life struct {
	world    *world
	name     string
	fate     fate
	engine   *Engine
	provider *providers.Provider
	lease    *bank.Lease

	tenure context.Context
	die    context.CancelCauseFunc
	gone   chan struct{} // closed when it is dead or stopped

	mu     sync.Mutex
	passed int
	once   sync.Once
	stops  sync.WaitGroup
}

var _ Tenure = (*life)(nil)

func (l *life) ID() string               { return l.name }
func (l *life) Context() context.Context { return l.tenure }
func (l *life) Fence() func() error      { return func() error { return context.Cause(l.tenure) } }

func (w *world) begin(name string, f fate) *life {
	l := &life{world: w, name: name, fate: f, gone: make(chan struct{})}
	l.tenure, l.die = context.WithCancelCause(context.Background())
	l.lease = bank.NewLease(mortalLeases{l, w.leases}, name, bank.DefaultLeaseWindows(), bank.Clock{Now: time.Now, After: time.After}, w.log)
	var err error
	l.provider, err = providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{l.plugin()},
		Bank: bank.New(mortalBank{w.bank, l}, l.lease)})
	if err != nil {
		w.complain("%v", err)
	}
	l.engine = New(Config{
		Protectables: w.scenario.cloud(), Records: mortalRecords{w.records, l}, Log: w.log, Journal: mortalJournal{w.journal, l},
		Tenure: l, Providers: one{l.provider}, MaxTasks: w.scenario.workers, HookTimeout: time.Hour,
	})
	return l
}

// pass is a moment at which the process may die. It fails if it is dead.
func (l *life) pass(call string) error {
	w := l.world
	time.Sleep(w.latency(call))
	l.mu.Lock()
	l.passed++
	due := l.passed == l.fate.at
	endless := l.passed == 100_000
	l.mu.Unlock()
	if endless {
		w.complain("it goes in circles: %s", call)
		l.kill()
	}
	if due && l.fate.stops {
		l.stops.Go(l.stop)
	} else if due {
		l.kill()
	}
	l.maybeCancel()
	return context.Cause(l.tenure)
}

// latency is how long a call takes, a whole number of nanoseconds below 10 ms
// that hardly any other call takes.
func (w *world) latency(call string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	call = anyID.ReplaceAllStringFunc(call, func(id string) string { // ids are made by chance
		if w.ids[id] == "" {
			w.ids[id] = strconv.Itoa(len(w.ids))
		}
		return w.ids[id]
	})
	w.calls[call]++
	h := fnv.New64a()
	fmt.Fprint(h, w.scenario.seed, call, w.calls[call])
	return 1 + time.Duration(h.Sum64()%uint64(10*time.Millisecond))
}

var anyID = regexp.MustCompile("[0-9a-f]{8}-[0-9a-f-]{27}")

// call is a call of the process to something that outlives it.
func (l *life) call(name string, do func() error) error {
	if err := l.pass(name); err != nil {
		return err
	}
	if l.world.away(name) {
		if l.world.scenario.outage.store == bankAnswers {
			_ = do() // nobody hears of it
		}
		return errAway
	}
	if err := do(); err != nil {
		return err
	}
	return l.pass(name + ", answered")
}

// write is a call that leaves something behind.
func (l *life) write(name string, do func() error) error {
	return l.call(name, l.before(name, do))
}

// before complains of a call that has changed something after the end. A process that
// has lost the answer to the last call may still ask the journal, which refuses it.
func (l *life) before(name string, do func() error) func() error {
	return func() error {
		over := l.world.over()
		err := do()
		if over && err == nil {
			l.world.complain("%s after the end", name)
		}
		return err
	}
}

// hiccup is a write to a database, which may be away for a moment, or whose answer
// may get lost.
func (l *life) hiccup(name string, do func() error) error {
	return l.call(name, func() error {
		w := l.world
		w.mu.Lock()
		w.written++
		now := w.scenario.hiccups[w.written]
		w.mu.Unlock()
		if now == away {
			return errDown
		}
		if err := do(); err != nil {
			return err
		}
		if now == answerLost {
			return errDown
		}
		return nil
	})
}

// errAway is what calls fail with in an outage.
var errAway = errors.New("the store is away for long")

// away reports whether a call meets the outage.
func (w *world) away(call string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.scenario.outage
	if o.at == 0 || w.passed < o.at {
		return false
	}
	if w.back.IsZero() {
		w.back = time.Now().Add(o.lasts)
	}
	return time.Now().Before(w.back) && o.store.hears(call)
}

// hears reports whether a call asks what may be away.
func (s store) hears(call string) bool {
	verb, object, _ := strings.Cut(call, " ")
	switch inBank := strings.HasPrefix(object, "/"); s {
	case bankWrites, bankAnswers:
		return inBank && (verb == "put" || verb == "delete")
	case wholeBank:
		return inBank || strings.HasSuffix(call, "the lease")
	default:
		return !inBank && !strings.HasSuffix(call, "the lease") && verb != "make" && verb != "undo" // of services
	}
}

func (l *life) kill() {
	l.die(errKilled)
	l.once.Do(func() { close(l.gone) })
}

// stop ends the process in order. Hooks have a while to end.
func (l *life) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), l.fate.grace)
	defer cancel()
	l.engine.Stop(ctx)
	l.once.Do(func() { close(l.gone) })
}

// bury waits until nothing is left of the process.
func (l *life) bury() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	l.engine.Stop(ended)
	l.stops.Wait()
	if l.tenure.Err() == nil {
		if err := l.lease.Release(context.Background()); err != nil && l.tenure.Err() == nil && !errors.Is(err, errAway) {
			l.world.complain("%v", err)
		}
	}
	l.die(errKilled)
	_ = l.provider.Close()
}

// maybeCancel lets a user ask for the end of the operation when the time has come.
func (l *life) maybeCancel() {
	w := l.world
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed++
	if w.scenario.cancelAt == 0 || w.passed < w.scenario.cancelAt || w.asked || len(w.open) == 0 {
		return
	}
	w.asked = true
	id := ""
	for entry := range w.open {
		id = max(id, entry)
	}
	l.stops.Go(func() {
		err := l.engine.Cancel(context.Background(), id, "alice")
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = err == nil || !w.open[id]
	})
}

// adopt takes over what has not ended.
func (l *life) adopt() {
	left, err := l.world.journal.List(context.Background(), journal.Filter{Unfinished: true})
	if err != nil {
		l.world.complain("%v", err)
	}
	for _, entry := range left {
		if l.engine.Working(entry.ID) {
			continue
		}
		claim, err := l.world.journal.Adopt(context.Background(), entry.ID, entry.Claim, l.name)
		if err != nil {
			l.world.complain("adopt: %v", err)
		}
		entry.Claim = claim
		l.engine.Adopt(entry)
	}
}
