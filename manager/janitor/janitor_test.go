// SPDX-License-Identifier: Apache-2.0

package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/janitor"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/providers"
)

// The passes are a minute after the start, and an hour after the one before.
const (
	afterFirst  = 2 * time.Minute
	afterSecond = time.Hour
)

// damages are what goes wrong, one of each kind, and how it is repaired.
var damages = []struct {
	name   string
	orphan bool // only who asks for it has it removed
	harm   func(t *testing.T, w *world)
	said   string
	check  func(t *testing.T, w *world, repaired bool)
}{
	{"protection", false, func(t *testing.T, w *world) { w.create(t, "c", checkpoint.Protecting) },
		"status error instead of protecting", statusBecomes(checkpoint.Protecting, checkpoint.Error)},
	{"waiting copy", false, func(t *testing.T, w *world) { w.create(t, "c", checkpoint.WaitCopying) },
		"status error instead of wait_copying", statusBecomes(checkpoint.WaitCopying, checkpoint.Error)},
	{"copy", false, func(t *testing.T, w *world) { w.create(t, "c", checkpoint.Copying) },
		"status error instead of copying", statusBecomes(checkpoint.Copying, checkpoint.Error)},
	{"deletion", false, func(t *testing.T, w *world) { w.create(t, "c", checkpoint.Deleting) },
		"status error-deleting instead of deleting", statusBecomes(checkpoint.Deleting, checkpoint.ErrorDeleting)},
	{"missing entry", false, func(t *testing.T, w *world) {
		w.create(t, "c", checkpoint.Available)
		w.remove(t, w.entries("c")[2])
	}, "written", func(t *testing.T, w *world, repaired bool) {
		if n := len(w.entries("c")); n != map[bool]int{false: 2, true: 3}[repaired] {
			t.Errorf("%d entries are there", n)
		}
	}},
	{"entry of a deleted checkpoint", false, func(t *testing.T, w *world) {
		cp := w.create(t, "c", checkpoint.Deleting)
		entry := w.entries("c")[1]
		if err := cp.Delete(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.put(entry)
	}, "removed, whose checkpoint was deleted", entriesAre(1)},
	{"entry without a checkpoint", true, func(t *testing.T, w *world) {
		w.create(t, "c", checkpoint.Available)
		w.remove(t, "/checkpoints/c/index.json")
		for _, key := range w.entries("c")[1:] {
			w.remove(t, key)
		}
	}, "removed, which leads to nothing", entriesAre(1)},
	{"data", true, func(_ *testing.T, w *world) { w.put("/checkpoints/c/resource-data/r/metadata") },
		"data removed", func(t *testing.T, w *world, repaired bool) {
			if n := len(w.store.Below("/checkpoints/c/")); (n == 0) != repaired {
				t.Errorf("%d objects are there", n)
			}
		}},
}

func statusBecomes(before, after checkpoint.Status) func(*testing.T, *world, bool) {
	return func(t *testing.T, w *world, repaired bool) {
		t.Helper()
		var rows []string
		want := before
		if repaired {
			const gone = " The worker that had this operation is gone"
			want, rows = after, []string{"c protect error" + gone, "c copy error" + gone, "c delete error-deleting" + gone}
		}
		if got := w.status(t, "c"); got != want {
			t.Errorf("the status is %s, want %s", got, want)
		}
		if diff := cmp.Diff(rows, w.rows.all()); diff != "" {
			t.Errorf("closed rows (-want +got):\n%s", diff)
		}
	}
}

func entriesAre(n int) func(*testing.T, *world, bool) {
	return func(t *testing.T, w *world, repaired bool) {
		t.Helper()
		want := n
		if repaired {
			want = 0
		}
		if got := len(w.entries("c")); got != want {
			t.Errorf("%d entries are there, want %d", got, want)
		}
	}
}

// An issue is repaired when it has existed for long enough, and not
// before; nothing else is touched.
func TestRepairs(t *testing.T) {
	t.Parallel()
	for _, d := range damages {
		for name, leased := range map[string]bool{"with leases": true, "without leases": false} {
			t.Run(d.name+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld()
					w.create(t, "good", checkpoint.Available)
					good := w.store.Objects()
					d.harm(t, w)
					k := w.worker(t, "janitor", leased, func(c *janitor.Config) { c.RemoveOrphans = d.orphan })
					k.Start()
					time.Sleep(afterFirst)
					d.check(t, w, false)
					if lines := k.repairs(); len(lines) > 0 {
						t.Errorf("after one look: %q", lines)
					}
					time.Sleep(afterSecond)
					d.check(t, w, true)
					if lines := k.repairs(); len(lines) != 1 || !strings.Contains(lines[0], d.said) || !strings.Contains(lines[0], "checkpoint c:") {
						t.Errorf("the log says %q, want one line with %q", lines, d.said)
					}
					now := w.store.Objects()
					for key, object := range good {
						if diff := cmp.Diff(object, now[key]); diff != "" {
							t.Errorf("%s has changed (-before +after):\n%s", key, diff)
						}
					}
				})
			})
		}
	}
}

// While an index.json is away, as in the quarantine of a store, what belongs to its
// checkpoint is reported once and kept, and the checkpoint is whole when it is back.
func TestKeepsWhatMayComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.create(t, "c", checkpoint.Available)
		w.put("/checkpoints/c/resource-data/r/metadata")
		whole := w.store.Objects()
		w.remove(t, "/checkpoints/c/index.json")
		k := w.worker(t, "janitor", true)
		k.Start()
		time.Sleep(afterFirst + 5*time.Hour)
		lines := k.repairs()
		if len(lines) != 4 {
			t.Errorf("the log says %q, want each of 3 entries and the data once", lines)
		}
		for _, line := range lines {
			if !strings.Contains(line, "kept") || !strings.Contains(line, "--remove-orphans") {
				t.Errorf("the log says %q", line)
			}
		}
		if n := k.Orphans(); n != 4 {
			t.Errorf("%d orphans are counted", n)
		}
		w.store.Set("/checkpoints/c/index.json", whole["/checkpoints/c/index.json"])
		if diff := cmp.Diff(whole, w.store.Objects()); diff != "" {
			t.Errorf("the bank has changed (-before +after):\n%s", diff)
		}
		time.Sleep(time.Hour)
		if n := k.Orphans(); n != 0 {
			t.Errorf("%d orphans are counted in a whole bank", n)
		}
	})
}

// What is left of a deleted checkpoint stays for as long as the option says, which is for ever if it says nothing.
func TestTombstones(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keep time.Duration
		goes bool
	}{"for ever": {0, false}, "two days": {48 * time.Hour, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.create(t, "good", checkpoint.Available)
				for _, id := range []string{"c", "busy"} {
					if err := w.create(t, id, checkpoint.Deleting).Delete(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				w.begin(t, "busy")
				before := w.store.Keys()
				k := w.worker(t, "janitor", true, func(config *janitor.Config) { config.Tombstones = c.keep })
				k.Start()
				time.Sleep(47 * time.Hour)
				if lines := k.repairs(); len(lines) > 0 {
					t.Errorf("before their time: %q", lines)
				}
				time.Sleep(4 * time.Hour)
				want := before
				if c.goes {
					want = slices.DeleteFunc(slices.Clone(before), func(key string) bool { return key == "/checkpoints/c/index.json" })
				}
				if diff := cmp.Diff(want, w.store.Keys()); diff != "" {
					t.Errorf("objects (-want +got):\n%s", diff)
				}
				if lines := k.repairs(); c.goes != (len(lines) == 1 && strings.Contains(lines[0], "checkpoint c: index.json removed")) {
					t.Errorf("the log says %q", lines)
				}
			})
		})
	}
}

// Two looks that are closer to each other than the grace are one.
func TestGrace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		leased bool
		looks  time.Duration
		want   checkpoint.Status
	}{
		{"too early", true, 5 * time.Minute, checkpoint.Protecting},
		{"late enough", true, 10 * time.Minute, checkpoint.Error},
		{"too early without leases", false, 5 * time.Minute, checkpoint.Protecting},
		{"late enough without leases", false, 10 * time.Minute, checkpoint.Error},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.create(t, "c", checkpoint.Protecting)
				w.worker(t, "janitor", c.leased, func(o *janitor.Config) { o.Interval = c.looks }).Start()
				time.Sleep(afterFirst + c.looks)
				if got := w.status(t, "c"); got != c.want {
					t.Errorf("the status is %s, want %s", got, c.want)
				}
			})
		})
	}
}

// A checkpoint that somebody is at work on stays as it is, for as long as that
// takes, and the grace begins when nobody is any more.
func TestLeavesTheLiving(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		leased bool
		live   func(t *testing.T, w *world) (die func())
	}{
		{"an owner with a lease", true, func(_ *testing.T, w *world) func() {
			_ = w.leases.Acquire(context.Background(), deadOwner, 1000*time.Hour)
			return func() { _ = w.leases.Release(context.Background(), deadOwner) }
		}},
		{"an operation in the journal", true, func(t *testing.T, w *world) func() {
			e := w.begin(t, "c")
			return func() {
				if err := w.journal.End(context.Background(), e.ID, e.Claim, journal.Failed, "", nil); err != nil {
					t.Error(err)
				}
			}
		}},
		{"an operation in the journal, without leases", false, func(t *testing.T, w *world) func() {
			e := w.begin(t, "c")
			return func() {
				if err := w.journal.End(context.Background(), e.ID, e.Claim, journal.Failed, "", nil); err != nil {
					t.Error(err)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.create(t, "c", checkpoint.Protecting)
				die := c.live(t, w)
				w.worker(t, "janitor", c.leased).Start()
				time.Sleep(afterFirst + 5*time.Hour)
				if got := w.status(t, "c"); got != checkpoint.Protecting || len(w.rows.all()) > 0 {
					t.Fatalf("the status is %s, closed rows %q", got, w.rows.all())
				}
				die()
				time.Sleep(time.Hour)
				if got := w.status(t, "c"); got != checkpoint.Protecting {
					t.Fatalf("after one look without an owner the status is %s", got)
				}
				time.Sleep(time.Hour)
				if got := w.status(t, "c"); got != checkpoint.Error {
					t.Errorf("after two looks without an owner the status is %s", got)
				}
			})
		})
	}
}

// Entries and data of a checkpoint that an operation is at work on may be about
// to come or go.
func TestLeavesWhatIsInTheMaking(t *testing.T) {
	t.Parallel()
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				d.harm(t, w)
				w.begin(t, "c")
				before := w.store.Objects()
				w.worker(t, "janitor", true).Start()
				time.Sleep(afterFirst + 5*time.Hour)
				if diff := cmp.Diff(before, w.store.Objects()); diff != "" {
					t.Errorf("the bank has changed (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// counted counts questions to a journal.
type counted struct {
	*journaltest.Memory
	lists atomic.Int64
}

func (c *counted) List(ctx context.Context, f journal.Filter) ([]journal.Entry, error) {
	c.lists.Add(1)
	return c.Memory.List(ctx, f)
}

// Checkpoints that are at work are many, and the journal is asked about all of
// them at once.
func TestAsksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i := range 50 {
		id := fmt.Sprint("c", i)
		w.create(t, id, checkpoint.Protecting)
		w.begin(t, id)
	}
	kept := &counted{Memory: w.journal}
	engine := operation.New(operation.Config{Journal: kept, Log: logrus.New()})
	defer engine.Stop(t.Context())
	k := w.worker(t, "janitor", true, func(c *janitor.Config) { c.Journal, c.Judge = kept, engine })
	plan, err := k.Plan(t.Context())
	if n := kept.lists.Load(); err != nil || len(plan) != 0 || n != 1 {
		t.Errorf("plan %v, %v, asked %d times", plan, err, n)
	}
}

// What this worker has created itself, in a bank without leases, is its own.
func TestLeavesItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.create(t, "c", checkpoint.Protecting)
		w.worker(t, deadOwner, false).Start()
		time.Sleep(afterFirst + 5*time.Hour)
		if got := w.status(t, "c"); got != checkpoint.Protecting {
			t.Errorf("the status is %s", got)
		}
	})
}

// Data whose operation the journal still remembers are left until it forgets.
func TestDataOfAnEndedOperation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.put("/checkpoints/c/resource-data/r/metadata")
		e := w.begin(t, "c")
		if err := w.journal.End(context.Background(), e.ID, e.Claim, journal.Failed, "", nil); err != nil {
			t.Fatal(err)
		}
		w.worker(t, "janitor", true, func(c *janitor.Config) { c.Retention, c.RemoveOrphans = 24*time.Hour, true }).Start()
		time.Sleep(24 * time.Hour)
		if n := len(w.store.Keys()); n != 1 {
			t.Errorf("%d objects are there while the operation is known", n)
		}
		time.Sleep(4 * time.Hour)
		if keys := w.store.Keys(); len(keys) > 0 {
			t.Errorf("%q are there when the operation is forgotten", keys)
		}
		if _, err := w.journal.Get(context.Background(), e.ID); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("the journal has the operation: %v", err)
		}
	})
}

// lagging is what a janitor asks, with something that happens after each answer.
type lagging struct {
	janitor.Journal
	judge janitor.Judge
	then  atomic.Pointer[func()]
}

func (l *lagging) after() {
	if then := l.then.Load(); then != nil {
		(*then)()
	}
}

func (l *lagging) List(ctx context.Context, f journal.Filter) ([]journal.Entry, error) {
	defer l.after()
	return l.Journal.List(ctx, f)
}

func (l *lagging) Abandonment(ctx context.Context, p *providers.Provider, id, owner string) (operation.Abandonment, error) {
	defer l.after()
	return l.judge.Abandonment(ctx, p, id, owner)
}

// A bank that lags shows something that has gone by the second look, or goes
// between the second look and the repair. Then nothing is done.
func TestLag(t *testing.T) {
	t.Parallel()
	for _, d := range damages {
		for name, late := range map[string]bool{"gone at the second look": false, "gone after the second look": true} {
			t.Run(d.name+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w, whole := newWorld(), newWorld()
					d.harm(t, w)
					whole.create(t, "c", checkpoint.Available)
					heal := func() {
						for _, key := range w.store.Keys() {
							w.remove(t, key)
						}
						for key, object := range whole.store.Objects() {
							w.store.Set(key, object)
						}
					}
					l := &lagging{}
					k := w.worker(t, "janitor", true, func(c *janitor.Config) {
						c.RemoveOrphans = true
						l.Journal, l.judge = c.Journal, c.Judge
						c.Journal, c.Judge = l, l
					})
					k.Start()
					time.Sleep(afterFirst)
					if late {
						l.then.Store(&heal)
					} else {
						heal()
					}
					time.Sleep(afterSecond)
					if diff := cmp.Diff(whole.store.Objects(), w.store.Objects()); diff != "" {
						t.Errorf("the bank has changed (-before +after):\n%s", diff)
					}
					if lines := k.repairs(); len(lines) > 0 || len(w.rows.all()) > 0 {
						t.Errorf("the log says %q, rows %q are closed", lines, w.rows.all())
					}
				})
			})
		}
	}
}
