// SPDX-License-Identifier: Apache-2.0

package journaltest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/journal"
)

func testOwners(t *testing.T, f Factory) {
	j, other := f.Open(t), f.Open(t)
	announce(t, j, "b", time.Hour)
	must(t, other.Announce(t.Context(), journal.Owner{ID: "a", Host: "old"}, 0))
	must(t, other.Announce(t.Context(), journal.Owner{ID: "c", Host: "h\x00\xff"}, -time.Hour))
	must(t, j.Announce(t.Context(), journal.Owner{ID: "a", Host: "new"}, time.Hour))
	check := func(want ...journal.Owner) (announced map[string]time.Time) {
		t.Helper()
		got, err := j.Owners(t.Context())
		must(t, err)
		announced = map[string]time.Time{}
		for i := range got {
			announced[got[i].ID], got[i].Announced = got[i].Announced, time.Time{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("owners (-want +got):\n%s", diff)
		}
		return announced
	}
	b, c := journal.Owner{ID: "b", Host: "host", Live: true}, journal.Owner{ID: "c", Host: "h\ufffd"}
	first := check(journal.Owner{ID: "a", Host: "new", Live: true}, b, c)
	for range 2 {
		must(t, other.Retire(t.Context(), "a"))
	}
	must(t, j.Retire(t.Context(), "nobody"))
	must(t, j.Retire(t.Context(), "\x00"))
	retired := check(journal.Owner{ID: "a", Host: "new", Retired: true}, b, c)
	announce(t, j, "a", time.Hour)
	again := check(journal.Owner{ID: "a", Host: "host", Live: true}, b, c)
	if !retired["a"].Equal(first["a"]) || !again["a"].After(first["a"]) || !again["b"].Equal(first["b"]) {
		t.Errorf("announced at %v, then %v, then %v", first, retired, again)
	}
}

func testAnnouncementEnds(t *testing.T, f Factory) {
	j := f.Open(t)
	e := begin(t, j, entry("w"))
	announce(t, j, "w", time.Hour)
	if _, err := j.Adopt(t.Context(), e.ID, e.Claim, "x"); !errors.Is(err, journal.ErrOwnerLives) {
		t.Fatalf("adopted from the living: %v", err)
	}
	announce(t, j, "w", 50*time.Millisecond) // the newest counts, also if it is shorter
	eventually(t, "the announcement ends", func() bool { return !live(t, j, "w") })
	if _, err := j.Adopt(t.Context(), e.ID, e.Claim, "x"); err != nil {
		t.Errorf("adopt after the announcement: %v", err)
	}
}

func testAdopt(t *testing.T, f Factory) {
	j := f.Open(t)
	e := begin(t, j, entry("w"))
	must(t, j.Start(t.Context(), e.ID, e.Claim))
	must(t, j.Write(t.Context(), e.ID, e.Claim, mark("k", 1)))
	announce(t, j, "w", time.Hour)
	announce(t, j, "x", time.Hour)
	if _, err := j.Adopt(t.Context(), e.ID, e.Claim, "x"); !errors.Is(err, journal.ErrOwnerLives) {
		t.Errorf("adopt from the living: %v", err)
	}
	must(t, j.Retire(t.Context(), "w"))
	c, err := j.Adopt(t.Context(), e.ID, e.Claim, "x")
	must(t, err)
	if c != (journal.Claim{Owner: "x", Generation: 2}) {
		t.Errorf("claim is %v", c)
	}
	refusesAll(t, j, e.ID, e.Claim)
	got, err := j.Get(t.Context(), e.ID)
	must(t, err)
	if got.Claim != c || got.State != journal.Running || got.StartedAt.IsZero() || marks(t, j, e.ID, "") != "k=1\n" {
		t.Errorf("adopted: %+v", got)
	}
	must(t, j.Write(t.Context(), e.ID, c, mark("k", 2)))
	own, err := j.Adopt(t.Context(), e.ID, c, "x") // its own, though live
	must(t, err)
	if own != (journal.Claim{Owner: "x", Generation: 3}) {
		t.Errorf("claim is %v", own)
	}
	refusesAll(t, j, e.ID, c)
	must(t, j.End(t.Context(), e.ID, own, journal.Succeeded, "", nil))
	refusesAll(t, j, e.ID, own)

	unknown := begin(t, j, entry("was never announced"))
	if _, err := j.Adopt(t.Context(), unknown.ID, unknown.Claim, "x"); err != nil {
		t.Errorf("adopt from nobody: %v", err)
	}
}

func testAdoptersAtOnce(t *testing.T, f Factory) {
	const adopters, entries = 5, 100
	first := f.Open(t)
	var begun []journal.Entry
	for range entries {
		begun = append(begun, begin(t, first, entry("dead")))
	}
	adopted := make([]atomic.Int32, entries)
	var wg sync.WaitGroup
	for a := range adopters {
		j := f.Open(t)
		wg.Go(func() {
			for i := range begun {
				e := begun[(i+a%2*entries/2)%entries]
				c, err := j.Adopt(t.Context(), e.ID, e.Claim, fmt.Sprint("adopter ", a))
				if errors.Is(err, journal.ErrClaim) {
					continue
				}
				if err != nil || c.Generation != 2 {
					t.Errorf("adopt: %v, claim %v", err, c)
				}
				adopted[(i+a%2*entries/2)%entries].Add(1)
			}
		})
	}
	wg.Wait()
	for i := range adopted {
		if n := adopted[i].Load(); n != 1 {
			t.Errorf("entry %d was adopted %d times", i, n)
		}
	}
}

// testAdoptersAndWriters adopts entries while their owners write: the new owner sees
// every mark that was written, and no mark is written after the new owner has read
// them.
func testAdoptersAndWriters(t *testing.T, f Factory) {
	old, adopter := f.Open(t), f.Open(t)
	for range 5 {
		e := begin(t, old, entry("w"))
		var wg sync.WaitGroup
		var written atomic.Int32
		for w := range 4 {
			wg.Go(func() {
				for n := range 1000 {
					err := old.Write(t.Context(), e.ID, e.Claim, mark(fmt.Sprintf("%d/%d", w, n), n))
					if errors.Is(err, journal.ErrClaim) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					written.Add(1)
				}
			})
		}
		eventually(t, "something is written", func() bool { return written.Load() > 10 })
		_, err := adopter.Adopt(t.Context(), e.ID, e.Claim, "x")
		must(t, err)
		seen := marks(t, adopter, e.ID, "")
		wg.Wait()
		if got := marks(t, adopter, e.ID, ""); got != seen {
			t.Error("something was written after the adoption")
		}
		n := 0
		for _, c := range seen {
			if c == '\n' {
				n++
			}
		}
		if n != int(written.Load()) {
			t.Errorf("the adopter saw %d marks, %d were written", n, written.Load())
		}
	}
}

func testLocks(t *testing.T, f Factory) {
	j, other := f.Open(t), f.Open(t)
	lock := func(j journal.Journal, owner string, hold time.Duration, want bool) {
		t.Helper()
		if has, err := j.Lock(t.Context(), "l", owner, hold); err != nil || has != want {
			t.Errorf("lock for %s: %v, %v", owner, has, err)
		}
	}
	lock(j, "a", time.Hour, true)
	lock(other, "b", time.Hour, false)
	lock(other, "a", time.Hour, true) // renewed
	if has, err := other.Lock(t.Context(), "L", "b", time.Hour); err != nil || !has {
		t.Errorf("another lock: %v, %v", has, err)
	}
	must(t, other.Unlock(t.Context(), "l", "b")) // not b's
	lock(other, "b", time.Hour, false)
	for range 2 {
		must(t, j.Unlock(t.Context(), "l", "a"))
	}
	lock(other, "b", 50*time.Millisecond, true)
	eventually(t, "the lock runs out", func() bool {
		has, err := j.Lock(t.Context(), "l", "a", time.Hour)
		return err == nil && has
	})
	lock(other, "b", time.Hour, false)
	lock(j, "a", 0, true)
	lock(other, "b", time.Hour, true)
	must(t, j.Unlock(t.Context(), "nothing", "a"))
	must(t, j.Unlock(t.Context(), "\x00", "\xff"))
}

func testLockersAtOnce(t *testing.T, f Factory) {
	workers := []journal.Journal{f.Open(t), f.Open(t)}
	var inside, total atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			owner := fmt.Sprint(i)
			for range 5 {
				eventually(t, "the lock is free", func() bool {
					has, err := workers[i%2].Lock(t.Context(), "l", owner, time.Hour)
					if err != nil {
						t.Error(err)
					}
					return has
				})
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				total.Add(1)
				inside.Add(-1)
				if err := workers[i%2].Unlock(t.Context(), "l", owner); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if total.Load() != 40 {
		t.Errorf("the lock was had %d times", total.Load())
	}
}
