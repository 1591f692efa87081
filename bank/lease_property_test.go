// SPDX-License-Identifier: Apache-2.0

package bank_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/tenure/tenuretest"
)

// stormyLeases is a store of one lease with a clock of its own, far away from
// its owner.
type stormyLeases struct {
	process *tenuretest.Process
	clock   tenuretest.Drift
	events  []tenuretest.Event
	start   time.Time

	mu      sync.Mutex
	expires time.Time
}

func (s *stormyLeases) set(ctx context.Context, window time.Duration, mustBe bool) error {
	behavior := tenuretest.BehaviorAt(s.events, time.Since(s.start))
	return s.process.Call(ctx, behavior, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if mustBe && !s.clock.Now().Before(s.expires) {
			return bank.ErrNotFound
		}
		s.expires = s.clock.Now().Add(window)
		return nil
	})
}

func (s *stormyLeases) Acquire(ctx context.Context, _ string, window time.Duration) error {
	return s.set(ctx, window, false)
}

func (s *stormyLeases) Renew(ctx context.Context, _ string, window time.Duration) error {
	return s.set(ctx, window, true)
}

func (s *stormyLeases) Held(context.Context, string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock.Now().Before(s.expires), nil
}

func (s *stormyLeases) Release(context.Context, string) error { return nil }

// Whatever is wrong with clocks, processes and the store: who may write is seen
// to hold the lease by everybody else. A write that began before others could
// take over never goes on. When nothing is wrong any more the lease comes back.
func TestLeaseProperty(t *testing.T) {
	t.Parallel()
	const end = 2 * time.Hour
	rapid.Check(t, func(rt *rapid.T) {
		process := tenuretest.DrawProcess(rt, "owner")
		store := &stormyLeases{process: process, clock: tenuretest.DrawDrift(rt, "store")}
		store.events = tenuretest.DrawEvents(rt, "events", end, time.Minute/2)
		wrong := ""
		synctest.Test(t, func(t *testing.T) { wrong = leaseHolds(t, store, end) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// leaseHolds plays the events and says what went wrong.
func leaseHolds(t *testing.T, store *stormyLeases, end time.Duration) string {
	store.start = time.Now()
	store.clock.Begin()
	store.process.Begin()
	lease := bank.NewLease(store, "owner", bank.DefaultLeaseWindows(), store.process.Clock(), nil)
	defer lease.Close()
	ensuring := make(chan struct{})
	go func() { defer close(ensuring); lease.Ensure(context.Background()) }()
	defer func() { <-ensuring }()

	const tick = 10 * time.Second
	var old []context.Context // of tenures that others may have ended
	var present context.Context
	wrong := ""                                   // the first; what is under way comes to its end all the same
	calm := end + 30*time.Minute + 20*time.Minute // the longest event, and time to recover
	for now := time.Duration(0); now < calm; now += tick {
		store.process.StopAt(store.events, now, now+tick)
		time.Sleep(tick)
		held, _ := lease.Held(t.Context(), "owner")
		valid := lease.Valid()
		if valid == nil && !held && wrong == "" {
			wrong = fmt.Sprintf("after %s the owner may write, and nobody sees its lease", now)
		}
		if valid == nil {
			present = lease.Context()
		}
		if !held && present != nil {
			old, present = append(old, present), nil
		}
		if valid != nil {
			continue
		}
		for _, ctx := range old {
			if ctx.Err() == nil && wrong == "" {
				wrong = fmt.Sprintf("after %s the owner may write again, and its work of before goes on", now)
			}
		}
	}
	if wrong != "" {
		return wrong
	}
	if err := lease.Valid(); err != nil {
		return fmt.Sprintf("it never came back: %v", err)
	}
	s, err := bank.New(banktest.NewMemory(), lease).Section("/s")
	if err != nil {
		return err.Error()
	}
	if err := s.PutText(t.Context(), "k", "x"); err != nil {
		return err.Error()
	}
	return ""
}
