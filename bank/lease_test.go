// SPDX-License-Identifier: Apache-2.0

package bank_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
)

// leaseStore is a store of one lease, which can be made to fail or to hang.
type leaseStore struct {
	mu      sync.Mutex
	calls   []string
	expires time.Time // zero: no lease
	fails   error
	hangs   bool
}

func (s *leaseStore) call(ctx context.Context, name string) error {
	s.mu.Lock()
	s.calls = append(s.calls, name)
	fails, hangs := s.fails, s.hangs
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return fails
}

func (s *leaseStore) Acquire(ctx context.Context, _ string, window time.Duration) error {
	if err := s.call(ctx, "acquire"); err != nil {
		return err
	}
	s.set(time.Now().Add(window))
	return nil
}

func (s *leaseStore) Renew(ctx context.Context, owner string, window time.Duration) error {
	if err := s.call(ctx, "renew"); err != nil {
		return err
	}
	if held, _ := s.Held(ctx, owner); !held {
		return bank.ErrNotFound
	}
	s.set(time.Now().Add(window))
	return nil
}

func (s *leaseStore) Held(context.Context, string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.expires), nil
}

func (s *leaseStore) Release(ctx context.Context, _ string) error {
	s.set(time.Time{})
	return s.call(ctx, "release")
}

func (s *leaseStore) set(expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expires = expires
}

func (s *leaseStore) become(fails error, hangs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.hangs = fails, hangs
}

func (s *leaseStore) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.calls
	s.calls = nil
	return seen
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// later lets time pass and everything settle.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// inBubble runs a test of a lease with the windows of the original in fake
// time.
func inBubble(t *testing.T, test func(t *testing.T, store *leaseStore, lease *bank.Lease)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := &leaseStore{}
		lease := bank.NewLease(store, "owner", bank.DefaultLeaseWindows(), bank.Clock{}, nil)
		defer lease.Close()
		test(t, store, lease)
	})
}

func TestLeaseIsTakenOnceAndRenewed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		if err := lease.Valid(); !errors.Is(err, bank.ErrLeaseNotHeld) {
			t.Errorf("before: %v", err)
		}
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() { lease.Ensure(t.Context()) })
		}
		group.Wait()
		if err := lease.Valid(); err != nil {
			t.Error(err)
		}
		later(361 * time.Second)
		if diff := cmp.Diff([]string{"acquire", "renew", "renew", "renew"}, store.seen()); diff != "" {
			t.Errorf("in six minutes (-want +got):\n%s", diff)
		}
		if lease.Valid() != nil || closed(lease.Lost()) {
			t.Errorf("lease is not valid: %v", lease.Valid())
		}
	})
}

func TestLeaseThatVanishedIsWrittenAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		lease.Ensure(t.Context())
		lost := lease.Lost()
		store.set(time.Time{})
		later(121 * time.Second)
		if diff := cmp.Diff([]string{"acquire", "renew", "acquire"}, store.seen()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if held, _ := lease.Held(t.Context(), "owner"); !held || closed(lost) || lease.Valid() != nil {
			t.Errorf("held %t, lost %t, %v", held, closed(lost), lease.Valid())
		}
	})
}

// The loss is signalled while the store still has the lease: others cannot
// have taken over yet.
func TestLeaseIsLostBeforeItEnds(t *testing.T) {
	t.Parallel()
	for name, hangs := range map[string]bool{"failing": false, "hanging": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
				lease.Ensure(t.Context())
				lost := lease.Lost()
				store.become(errors.New("unreachable"), hangs)

				later(499 * time.Second)
				if closed(lost) || lease.Valid() != nil {
					t.Fatalf("lost too early: %v", lease.Valid())
				}
				later(2 * time.Second)
				if !closed(lost) || !errors.Is(lease.Valid(), bank.ErrLeaseNotHeld) {
					t.Fatalf("not lost in time: %v", lease.Valid())
				}
				if held, _ := lease.Held(t.Context(), "owner"); !held {
					t.Error("the store has dropped it already")
				}
				store.become(nil, false)
				later(241 * time.Second)
				if !closed(lost) || closed(lease.Lost()) || lease.Valid() != nil {
					t.Errorf("was not taken anew: %v", lease.Valid())
				}
			})
		})
	}
}

func TestLeaseIsTriedUntilItIsThere(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		store.become(errors.New("unreachable"), false)
		lease.Ensure(t.Context())
		if lease.Valid() == nil || closed(lease.Lost()) {
			t.Error("a lease that was never there is valid, or lost")
		}
		store.become(nil, false)
		later(16 * time.Second)
		if err := lease.Valid(); err != nil {
			t.Error(err)
		}
	})
}

func TestEnsureEndsWithItsContext(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		store.become(nil, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		lease.Ensure(ctx)
		if ctx.Err() == nil {
			t.Error("a hanging store did not hang")
		}
	})
}

func TestLeaseAfterClose(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		lease.Ensure(t.Context())
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		lease.Ensure(t.Context())
		later(time.Hour)
		if diff := cmp.Diff([]string{"acquire", "release"}, store.seen()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if lease.Valid() == nil {
			t.Error("released lease is valid")
		}
	})
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		lease.Close()
		lease.Close()
		lease.Ensure(t.Context())
		if err := lease.Release(t.Context()); err != nil || len(store.seen()) != 0 {
			t.Errorf("a lease that was closed unused sent something, or %v", err)
		}
	})
}

// After Close nobody signals the end, but the time tells.
func TestValidityNeedsNoRenewal(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *leaseStore, lease *bank.Lease) {
		lease.Ensure(t.Context())
		lease.Close()
		later(499 * time.Second)
		if err := lease.Valid(); err != nil {
			t.Error(err)
		}
		later(2 * time.Second)
		if err := lease.Valid(); !errors.Is(err, bank.ErrLeaseNotHeld) {
			t.Errorf("with 99 of 100 seconds left: %v", err)
		}
	})
}

// A bank takes its lease with the first write, not with a reading.
func TestBankTakesItsLease(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		b := bank.New(banktest.NewMemory(), lease)
		s, err := b.Section("/s")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(t.Context(), bank.ListOptions{}); err != nil || len(store.seen()) != 0 {
			t.Errorf("listing took the lease, or %v", err)
		}
		if err := s.PutText(t.Context(), "a", "x"); err != nil || lease.Valid() != nil {
			t.Errorf("after a write: %v, %v", err, lease.Valid())
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWindowsFitTogether(t *testing.T) {
	t.Parallel()
	seconds := func(expire, renew, validity int) bank.LeaseWindows {
		return bank.LeaseWindows{
			Expire: time.Duration(expire) * time.Second, Renew: time.Duration(renew) * time.Second,
			Validity: time.Duration(validity) * time.Second,
		}
	}
	for _, test := range []struct{ given, want bank.LeaseWindows }{
		{seconds(600, 120, 100), seconds(600, 120, 100)},
		{seconds(120, 60, 100), seconds(120, 60, 30)}, // seen with the original
		{seconds(10, 2, 100), seconds(10, 2, 4)},
		{seconds(60, 60, 10), seconds(60, 12, 10)},
		{seconds(0, 0, 0), seconds(600, 120, 0)},
	} {
		lease := bank.NewLease(&leaseStore{}, "owner", test.given, bank.Clock{}, nil)
		if got := lease.Windows(); got != test.want {
			t.Errorf("%+v becomes %+v, want %+v", test.given, got, test.want)
		}
		lease.Close()
	}
}

// A store that is slow at the first time is waited for: a lease that nobody has
// yet cannot be lost meanwhile.
func TestLeaseOfASlowStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{leaseStore: &leaseStore{}, takes: 8 * time.Second}
		windows := bank.LeaseWindows{Expire: 12 * time.Second, Renew: 2 * time.Second, Validity: time.Second}
		lease := bank.NewLease(store, "owner", windows, bank.Clock{}, nil)
		defer lease.Close()
		lease.Ensure(t.Context())
		if err := lease.Valid(); err != nil {
			t.Error(err)
		}
	})
}

// slowStore takes its time for new leases.
type slowStore struct {
	*leaseStore
	takes time.Duration
}

func (s *slowStore) Acquire(ctx context.Context, owner string, window time.Duration) error {
	select {
	case <-time.After(s.takes):
		return s.leaseStore.Acquire(ctx, owner, window)
	case <-ctx.Done():
		return ctx.Err()
	}
}
