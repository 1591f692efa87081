// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/manager/ownership"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/tenure/tenuretest"
)

// stormy is a journal far away from one worker.
type stormy struct {
	*journaltest.Memory
	process *tenuretest.Process
	events  []tenuretest.Event
	start   time.Time
}

func (s *stormy) call(ctx context.Context, do func() error) error {
	behavior := tenuretest.BehaviorAt(s.events, time.Since(s.start))
	return s.process.Call(ctx, behavior, do)
}

// Requests that are under way arrive, whatever became of who sent them.
func away(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func (s *stormy) Announce(ctx context.Context, o journal.Owner, hold time.Duration) error {
	return s.call(ctx, func() error { return s.Memory.Announce(away(ctx), o, hold) })
}

func (s *stormy) Adopt(ctx context.Context, id string, from journal.Claim, owner string) (claim journal.Claim, err error) {
	answer := make(chan journal.Claim, 1)
	err = s.call(ctx, func() error {
		claim, err := s.Memory.Adopt(away(ctx), id, from, owner)
		answer <- claim
		return err
	})
	if err == nil {
		claim = <-answer
	}
	return claim, err
}

func (s *stormy) Owners(ctx context.Context) ([]journal.Owner, error) {
	answer := make(chan []journal.Owner, 1)
	err := s.call(ctx, func() error {
		owners, err := s.Memory.Owners(away(ctx))
		answer <- owners
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

func (s *stormy) List(ctx context.Context, f journal.Filter) ([]journal.Entry, error) {
	answer := make(chan []journal.Entry, 1)
	err := s.call(ctx, func() error {
		entries, err := s.Memory.List(away(ctx), f)
		answer <- entries
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

// believer is a worker that goes on with an operation as long as its fence
// lets it.
type believer struct {
	*ownership.Keeper
	journal *stormy

	mu   sync.Mutex
	runs map[string]func() error
}

func (b *believer) adopt(e journal.Entry) {
	fence := b.Fence()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[e.ID] = fence
}

func (b *believer) working(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	fence := b.runs[id]
	return fence != nil && fence() == nil
}

// However wrong clocks, processes and the way to the journal are: no two workers
// believe to own an operation at the same time. When nothing is wrong any more
// each operation is somebody's.
func TestOwnershipProperty(t *testing.T) {
	t.Parallel()
	const end = 5 * time.Minute
	rapid.Check(t, func(rt *rapid.T) {
		var workers []*believer
		for i := range 3 {
			name := fmt.Sprintf("worker %d", i)
			workers = append(workers, &believer{runs: map[string]func() error{}, journal: &stormy{
				process: tenuretest.DrawProcess(rt, name),
				events:  tenuretest.DrawEvents(rt, name+" events", end, 2*time.Second),
			}})
		}
		store := tenuretest.DrawDrift(rt, "store")
		wrong := ""
		synctest.Test(t, func(t *testing.T) { wrong = oneOwnerEach(t, workers, store, end) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// oneOwnerEach plays the events and says what went wrong.
func oneOwnerEach(t *testing.T, workers []*believer, clock tenuretest.Drift, end time.Duration) string {
	clock.Begin()
	memory := journaltest.NewMemory(clock.Now)
	dead := uuid.NewString()
	var entries []string
	for range 3 {
		entries = append(entries, begin(t, memory, dead, nil))
	}
	var starting sync.WaitGroup
	for _, w := range workers {
		w.journal.Memory, w.journal.start = memory, time.Now()
		w.journal.process.Begin()
		k, err := ownership.New(ownership.Config{
			Journal: w.journal, Clock: w.journal.process.Clock(),
			Adopt: w.adopt, Working: w.working,
			Jitter: func(d time.Duration) time.Duration { return d },
		})
		if err != nil {
			return err.Error()
		}
		w.Keeper = k
		starting.Go(func() {
			if err := k.Start(context.Background()); err != nil {
				panic(err)
			}
		})
	}
	starting.Wait()
	defer func() {
		for _, w := range workers {
			_ = w.Stop(context.WithoutCancel(t.Context()))
		}
	}()

	const tick = time.Second
	wrong := "" // the first; what is under way comes to its end all the same
	began := workers[0].journal.start
	for last := time.Since(began); last < end+4*time.Minute; { // the longest event takes two
		time.Sleep(tick)
		now := time.Since(began)
		for _, w := range workers {
			w.journal.process.StopAt(w.journal.events, last, now)
		}
		last = now
		for _, id := range entries {
			if n := believers(workers, id); n > 1 && wrong == "" {
				wrong = fmt.Sprintf("after %s %d workers believe to own an operation", now, n)
			}
		}
	}
	if wrong != "" {
		return wrong
	}
	for _, id := range entries {
		if believers(workers, id) != 1 {
			e, err := memory.Get(t.Context(), id)
			return fmt.Sprintf("in the end nobody is at work on an operation: %+v, %v", e, err)
		}
	}
	return ""
}

func believers(workers []*believer, id string) int {
	n := 0
	for _, w := range workers {
		if w.working(id) {
			n++
		}
	}
	return n
}
