// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"net/http"
	"strconv"
	"testing"
)

// TestLease follows the lease of a worker in Swift from its first use to its
// end.
func TestLease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	store := swift(t)
	container := store.container()
	p := s.swiftProvider(container, noop)
	for option, value := range map[string]string{"lease_expire_window": "12", "lease_renew_window": "2", "lease_validity_window": "1"} {
		p.conf.set("swift_bank_plugin", option, value)
	}
	s.writeProvider(p)
	w := s.started("worker")
	a := s.api(stranger())
	id := a.protected(a.plan(p.id, something()))
	owner := ownerOf(t, store, container, id)
	first := store.deleteAt(owner)
	if first == 0 {
		t.Fatalf("owner %s has written index.json and has no lease that ends", owner)
	}
	await(t, "a renewal", func() (bool, any) {
		now := store.deleteAt(owner)
		return now > first, now
	})

	if status, _, _ := store.request(http.MethodDelete, "/leases/"+owner, nil, nil); status != http.StatusNoContent {
		t.Fatalf("delete the lease behind the worker's back: status %d", status)
	}
	await(t, "the lease to be there again", func() (bool, any) {
		now := store.deleteAt(owner)
		return now > 0, now
	})
	a.protected(a.plan(p.id, something()))

	w.kill()
	last := store.deleteAt(owner)
	if last == 0 {
		t.Fatal("the lease ended with its worker, want it to outlive a kill")
	}
	await(t, "the end of the lease", func() (bool, any) {
		now := store.deleteAt(owner)
		return now == 0, now
	})
	second := s.started("second")
	if again := ownerOf(t, store, container, a.protected(a.plan(p.id, something()))); again == owner {
		t.Errorf("the next worker writes as the dead one, %s", owner)
	}
	second.stop()
}

// deleteAt is the second at which a lease ends, 0 when there is none.
func (a *account) deleteAt(owner string) int64 {
	a.t.Helper()
	status, header, _ := a.request(http.MethodHead, "/leases/"+owner, nil, nil)
	switch status {
	case http.StatusNotFound:
		return 0
	case http.StatusOK:
	default:
		a.t.Fatalf("lease of %s: status %d", owner, status)
	}
	at, err := strconv.ParseInt(header.Get("X-Delete-At"), 10, 64)
	if err != nil {
		a.t.Fatalf("lease of %s has no end: %v", owner, err)
	}
	return at
}
