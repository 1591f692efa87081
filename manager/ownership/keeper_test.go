// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/manager/ownership"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/providers/protection"
)

func TestTenure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &shaky{Journal: journaltest.NewMemory(nil)}
		log, hook := logtest.NewNullLogger()
		w := newWorker(t, ownership.Config{Journal: j, Host: "h1", Log: log})
		if err := w.Valid(); !errors.Is(err, ownership.ErrLost) || !errors.Is(err, protection.ErrHandover) {
			t.Errorf("before the start: %v", err)
		}
		w.start(t)
		defer w.end(t)
		first, fence := w.Context(), w.Fence()
		later(101 * time.Second)
		if announced, _ := j.counts(); announced != 11 || w.Valid() != nil || first.Err() != nil {
			t.Errorf("%d announcements in 101 s, %v, %v", announced, w.Valid(), context.Cause(first))
		}

		j.become(true, false) // the last announcement was a second ago
		later(22 * time.Second)
		if w.Valid() != nil || fence() != nil || first.Err() != nil {
			t.Errorf("lost too early: %v", w.Valid())
		}
		later(time.Second)
		if err := context.Cause(first); !errors.Is(err, ownership.ErrLost) || !errors.Is(err, protection.ErrHandover) || !strings.Contains(err.Error(), errAway.Error()) {
			t.Errorf("the cause of the loss is %v", err)
		}
		if !errors.Is(w.Valid(), ownership.ErrLost) || fence() == nil {
			t.Errorf("valid after the loss: %v", w.Valid())
		}
		owners, err := j.Journal.Owners(t.Context())
		if err != nil || len(owners) != 1 || !owners[0].Live || owners[0].Host != "h1" {
			t.Errorf("others already take it for dead: %+v, %v", owners, err)
		}

		later(time.Hour)
		if len(hook.AllEntries()) != 2 {
			t.Errorf("in an hour it said %d things", len(hook.AllEntries()))
		}
		j.become(false, false)
		later(5 * time.Second)
		if w.Valid() != nil || w.Context().Err() != nil {
			t.Errorf("it did not come back: %v", w.Valid())
		}
		if fence() == nil || first.Err() == nil {
			t.Error("the first tenure came back")
		}
	})
}

// What began in a tenure writes nothing after it, under no context that comes
// from it, and also when the worker is an owner again.
func TestTenureGuardsTheBank(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &shaky{Journal: journaltest.NewMemory(nil)}
		w := newWorker(t, ownership.Config{Journal: j})
		w.start(t)
		defer w.end(t)
		s, err := bank.New(banktest.NewMemory(), nil, w.Valid).Section("/s")
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.WithoutCancel(w.Context())
		if err := s.PutText(ctx, "k", "1"); err != nil {
			t.Fatal(err)
		}
		j.become(true, false)
		later(30 * time.Second)
		if err := s.PutText(t.Context(), "k", "2"); !errors.Is(err, ownership.ErrLost) {
			t.Errorf("a write after the loss: %v", err)
		}
		j.become(false, false)
		later(5 * time.Second)
		if err := s.PutText(ctx, "k", "3"); !errors.Is(err, ownership.ErrLost) {
			t.Errorf("a write of the lost tenure: %v", err)
		}
		if err := s.PutText(w.Context(), "k", "4"); err != nil {
			t.Errorf("a write of the new tenure: %v", err)
		}
	})
}

func TestStopHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory(nil)
		a, b := newWorker(t, ownership.Config{Journal: j}), newWorker(t, ownership.Config{Journal: j})
		a.start(t)
		b.start(t)
		defer b.end(t)
		id := begin(t, j, a.ID(), a)
		later(time.Minute)
		if got := b.take(); len(got) != 0 {
			t.Fatalf("adopted from the living: %v", got)
		}
		ctx := a.Context()
		a.end(t)
		a.end(t)
		if !errors.Is(context.Cause(ctx), ownership.ErrLost) || a.Valid() == nil {
			t.Errorf("after the stop: %v, %v", context.Cause(ctx), a.Valid())
		}
		later(3 * time.Second)
		got := b.take()
		if len(got) != 1 || got[0].ID != id || got[0].Claim != (journal.Claim{Owner: b.ID(), Generation: 2}) || string(got[0].Input) != `{"x":1}` {
			t.Errorf("adopted %+v", got)
		}
	})
}

func TestOwnEntriesAfterALoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := journaltest.NewMemory(nil)
		j := &shaky{Journal: memory}
		w := newWorker(t, ownership.Config{Journal: j})
		w.start(t)
		defer w.end(t)
		slow, quick := begin(t, memory, w.ID(), w), begin(t, memory, w.ID(), w)
		j.become(true, false)
		later(time.Minute)
		w.drop(quick) // its hooks have ended, those of the other go on
		j.become(false, false)
		later(10 * time.Second)
		if got := w.take(); len(got) != 1 || got[0].ID != quick || got[0].Generation != 2 {
			t.Fatalf("adopted %+v", got)
		}
		w.drop(slow)
		later(3 * time.Second)
		if got := w.take(); len(got) != 1 || got[0].ID != slow || got[0].Generation != 2 {
			t.Fatalf("adopted %+v", got)
		}
		later(time.Minute)
		if got := w.take(); len(got) != 0 {
			t.Errorf("adopted again: %+v", got)
		}
	})
}

func TestNothingIsAdoptedWithoutATenure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := journaltest.NewMemory(nil)
		j := &shaky{Journal: memory, mute: true}
		w := newWorker(t, ownership.Config{Journal: j})
		id := begin(t, memory, uuid.NewString(), nil) // of an owner that nobody knows
		w.start(t)
		defer w.end(t)
		later(time.Hour)
		if _, scans := j.counts(); len(w.take()) != 0 || scans != 0 {
			t.Errorf("it looked %d times", scans)
		}
		j.become(false, false)
		later(5 * time.Second)
		if got := w.take(); len(got) != 1 || got[0].ID != id {
			t.Errorf("adopted %+v", got)
		}
	})
}

// An entry may reach the journal after its owner's end.
func TestLateEntryOfADeadOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory(nil)
		dead := uuid.NewString()
		if err := j.Announce(t.Context(), journal.Owner{ID: dead}, time.Second); err != nil {
			t.Fatal(err)
		}
		w := newWorker(t, ownership.Config{Journal: j})
		w.start(t)
		defer w.end(t)
		later(time.Minute)
		id := begin(t, j, dead, nil)
		later(33 * time.Second)
		if got := w.take(); len(got) != 1 || got[0].ID != id {
			t.Errorf("adopted %+v", got)
		}
	})
}

func TestCancelRequestsAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory(nil)
		w := newWorker(t, ownership.Config{Journal: j})
		w.start(t)
		defer w.end(t)
		id := begin(t, j, w.ID(), w)
		begin(t, j, w.ID(), w)
		if err := j.Cancel(t.Context(), id, "alice"); err != nil {
			t.Fatal(err)
		}
		// The worker may hear of it before it has come to the operation, so it is
		// told until that has ended.
		later(time.Minute)
		if len(w.cancelled) < 2 {
			t.Errorf("told %d times", len(w.cancelled))
		}
		if err := same("told", slices.Compact(w.cancelled), []string{id + " by alice"}); err != nil {
			t.Error(err)
		}
		if err := j.End(t.Context(), id, journal.Claim{Owner: w.ID(), Generation: 1}, journal.Cancelled, "", nil); err != nil {
			t.Fatal(err)
		}
		before := len(w.cancelled)
		later(time.Minute)
		if len(w.cancelled) != before {
			t.Error("told after its end")
		}
	})
}

// laborious is a journal in which listing many entries takes a while.
type laborious struct {
	ownership.Journal
	listed atomic.Int64 // looks at all of a worker's entries
}

func (l *laborious) List(ctx context.Context, f journal.Filter) ([]journal.Entry, error) {
	if f.Owner != "" && !f.Cancelling {
		l.listed.Add(1)
		time.Sleep(500 * time.Millisecond)
	}
	return l.Journal.List(ctx, f)
}

// A worker with very many operations does not spend its time on looking at them,
// and yet hears soon of what it is to end.
func TestLooksAtManyEntries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := journaltest.NewMemory(nil)
		j := &laborious{Journal: kept}
		w := newWorker(t, ownership.Config{Journal: j})
		w.start(t)
		defer w.end(t)
		id := begin(t, kept, w.ID(), w)
		later(10 * time.Minute)
		if n := j.listed.Load(); n < 50 || n > 60 { // every ten seconds, and a look
			t.Errorf("it looked %d times", n)
		}
		if err := kept.Cancel(t.Context(), id, "alice"); err != nil {
			t.Fatal(err)
		}
		later(4 * time.Second)
		if len(w.cancelled) == 0 {
			t.Error("it does not know of the cancel")
		}
	})
}

// Five workers find what a sixth one left: each entry is adopted once.
func TestAdoptionOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory(nil)
		adoptOnce(t, j, func(func() bool) { later(40 * time.Second) })
	})
}

// The same in a database, in real time.
func TestAdoptionOnceInDatabase(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), "sqlite:///"+t.TempDir()+"/journal.db", database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	j := journal.Open(db, journal.Options{})
	defer j.Close()
	if err := j.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	adoptOnce(t, j, func(done func() bool) { eventually(t, "adoption", done) })
}

func adoptOnce(t *testing.T, j journal.Journal, settle func(done func() bool)) {
	t.Helper()
	dead := uuid.NewString()
	if err := j.Announce(t.Context(), journal.Owner{ID: dead}, time.Second); err != nil {
		t.Fatal(err)
	}
	const entries = 40
	for range entries {
		begin(t, j, dead, nil)
	}
	var workers []*worker
	for range 5 {
		w := newWorker(t, ownership.Config{Journal: j})
		w.start(t)
		defer w.end(t)
		workers = append(workers, w)
	}
	settle(func() bool {
		n := 0
		for _, w := range workers {
			w.mu.Lock()
			n += len(w.adopted)
			w.mu.Unlock()
		}
		return n >= entries
	})
	by := map[string]string{}
	for _, w := range workers {
		for _, e := range w.take() {
			if by[e.ID] != "" || e.Claim != (journal.Claim{Owner: w.ID(), Generation: 2}) {
				t.Errorf("%s was adopted by %q, then as %+v", e.ID, by[e.ID], e.Claim)
			}
			by[e.ID] = w.ID()
		}
	}
	if len(by) != entries {
		t.Errorf("%d of %d were adopted", len(by), entries)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	j, adopt := journaltest.NewMemory(nil), func(journal.Entry) {}
	for name, c := range map[string]ownership.Config{
		"no journal":      {Adopt: adopt},
		"nobody adopts":   {Journal: j},
		"great margin":    {Journal: j, Adopt: adopt, Hold: 10 * time.Second, Margin: 6 * time.Second},
		"negative hold":   {Journal: j, Adopt: adopt, Hold: -1},
		"negative scan":   {Journal: j, Adopt: adopt, Scan: -1},
		"negative margin": {Journal: j, Adopt: adopt, Margin: -1},
	} {
		if _, err := ownership.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A clock of the store that is set ahead makes every announcement look old. Nobody
// takes over from an owner that goes on announcing itself.
func TestTheClockOfTheStoreIsSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		j := journaltest.NewMemory(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
		a, b := newWorker(t, ownership.Config{Journal: j}), newWorker(t, ownership.Config{Journal: j})
		a.start(t)
		b.start(t)
		defer b.end(t)
		id := begin(t, j, a.ID(), a)
		later(35 * time.Second)
		ahead.Store(int64(time.Hour))
		later(time.Minute)
		if got := b.take(); len(got) != 0 {
			t.Fatalf("adopted from the living: %+v", got)
		}
		ahead.Store(int64(2 * time.Hour))
		a.end(t)
		later(3 * time.Second)
		if got := b.take(); len(got) != 1 || got[0].ID != id {
			t.Errorf("adopted %+v from a worker that has stopped", got)
		}
	})
}

// An owner that was dead before a worker came is dead for it a hold later: the worker
// has to see for itself that the announcement stands still.
func TestStandingStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory(nil)
		dead := uuid.NewString()
		if err := j.Announce(t.Context(), journal.Owner{ID: dead}, time.Second); err != nil {
			t.Fatal(err)
		}
		begin(t, j, dead, nil)
		later(time.Hour)
		w := newWorker(t, ownership.Config{Journal: j})
		w.start(t)
		defer w.end(t)
		later(29 * time.Second)
		if got := w.take(); len(got) != 0 {
			t.Fatalf("adopted after less than a hold: %+v", got)
		}
		later(5 * time.Second)
		if got := w.take(); len(got) != 1 {
			t.Errorf("adopted %+v", got)
		}
	})
}
