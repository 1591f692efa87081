// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/swift"
)

func TestLeaseObject(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	store, err := swift.NewLeaseStore(config(f))
	if err != nil {
		t.Fatal(err)
	}
	owner := uuid.NewString()
	if err := store.Acquire(t.Context(), owner, 600*time.Second); err != nil {
		t.Fatal(err)
	}
	o, ok := f.stored("leases", owner)
	if !ok || string(o.body) != owner || o.header.Get("X-Delete-After") != "600" {
		t.Errorf("lease is %q with headers %v", o.body, o.header)
	}
	f.pass(599 * time.Second)
	if err := store.Renew(t.Context(), owner, 600*time.Second); err != nil {
		t.Fatal(err)
	}
	f.pass(599 * time.Second)
	if held, err := store.Held(t.Context(), owner); !held || err != nil {
		t.Errorf("renewed lease is held: %t, %v", held, err)
	}
	f.pass(time.Second)
	if held, err := store.Held(t.Context(), owner); held || err != nil {
		t.Errorf("lease that ran out is held: %t, %v", held, err)
	}
	if err := store.Renew(t.Context(), owner, time.Second); !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("renewal of a lease that is gone gives %v", err)
	}
	for range 2 {
		if err := store.Release(t.Context(), owner); err != nil {
			t.Errorf("release: %v", err)
		}
	}
}

// The lease is written by the first write, and neither its failure nor its
// slowness stops the data.
func TestLeaseOfABank(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	leases, err := swift.NewLeaseStore(config(f))
	if err != nil {
		t.Fatal(err)
	}
	lease := bank.NewLease(leases, p.OwnerID(), bank.DefaultLeaseWindows(), bank.Clock{}, nil)
	b := bank.New(p, lease)
	section, err := b.Section("/s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := section.GetText(t.Context(), "a"); !errors.Is(err, bank.ErrNotFound) {
		t.Error(err)
	}
	if _, ok := f.stored("leases", p.OwnerID()); ok || lease.Valid() == nil {
		t.Error("reading took the lease")
	}
	if err := section.PutText(t.Context(), "a", "x"); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.stored("leases", p.OwnerID()); !ok || lease.Valid() != nil {
		t.Errorf("after a write the lease is there: %t, %v", ok, lease.Valid())
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if _, ok := f.stored("leases", p.OwnerID()); ok || lease.Valid() == nil {
		t.Error("the released lease is there")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// All data connections hang, the lease does not.
func TestLeaseNeverWaitsForData(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := config(f)
	cfg.MaxRequests = 2
	p := newStore(t, cfg)
	leases, err := swift.NewLeaseStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hanging := make(chan struct{}, 4)
	f.fail(4, "GET", "//a", func(_ http.ResponseWriter, r *http.Request) bool {
		hanging <- struct{}{}
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	for range 4 {
		go func() {
			_, _ = p.Get(ctx, "/a")
			ended <- struct{}{}
		}()
	}
	<-hanging
	<-hanging
	if err := leases.Acquire(t.Context(), p.OwnerID(), time.Minute); err != nil {
		t.Error(err)
	}
	cancel()
	for range 4 {
		<-ended
	}
}

func TestLeaseReal(t *testing.T) {
	t.Parallel()
	store, err := swift.NewLeaseStore(realConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	owner := uuid.NewString()
	if held, err := store.Held(t.Context(), owner); held || err != nil {
		t.Errorf("before: held %t, %v", held, err)
	}
	if err := store.Renew(t.Context(), owner, time.Minute); !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("renewal of nothing gives %v", err)
	}
	if err := store.Acquire(t.Context(), owner, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := store.Renew(t.Context(), owner, time.Minute); err != nil {
		t.Error(err)
	}
	if held, err := store.Held(t.Context(), owner); !held || err != nil {
		t.Errorf("held %t, %v", held, err)
	}
	if err := store.Release(t.Context(), owner); err != nil {
		t.Error(err)
	}
	if held, err := store.Held(t.Context(), owner); held || err != nil {
		t.Errorf("after: held %t, %v", held, err)
	}
}
