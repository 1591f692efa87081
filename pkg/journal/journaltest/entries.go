// SPDX-License-Identifier: Apache-2.0

package journaltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/journal"
)

// full is an entry with every field set that the caller can set.
func full() journal.Entry {
	return journal.Entry{
		ID: uuid.NewString(), Key: "key-" + uuid.NewString(), Kind: "restore", Subject: "checkpoint/1", Exclusive: true,
		ProviderID: "provider", CheckpointID: "checkpoint", PlanID: "plan", ProjectID: "project", RecordID: "record",
		Input: json.RawMessage(`{"b": [1,  2], "a": "ü"}`),
		Claim: claim("worker"), CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600)),
	}
}

func testBegin(t *testing.T, f Factory) {
	j := f.Open(t)
	e := full()
	e.State, e.Outcome, e.Reason, e.CancelledBy, e.Generation = journal.Ended, journal.Failed, "r", "c", 7 // not the caller's
	e.StartedAt, e.EndedAt = e.CreatedAt, e.CreatedAt
	want := e
	want.State, want.Outcome, want.Reason, want.CancelledBy, want.Generation = journal.Queued, "", "", "", 1
	want.StartedAt, want.EndedAt = time.Time{}, time.Time{}
	want.CreatedAt = time.Date(2026, 3, 1, 11, 0, 0, 123456000, time.UTC)
	if diff := cmp.Diff(want, begin(t, j, e)); diff != "" {
		t.Errorf("what Begin returns (-want +got):\n%s", diff)
	}
	for _, reader := range []journal.Journal{j, f.Open(t)} {
		got, err := reader.Get(t.Context(), e.ID)
		must(t, err)
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("what Get returns (-want +got):\n%s", diff)
		}
		got, err = reader.Find(t.Context(), e.Key)
		must(t, err)
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("what Find returns (-want +got):\n%s", diff)
		}
	}
	for _, id := range []string{"", "nobody", "a\x00b", "\xff"} {
		if _, err := j.Get(t.Context(), id); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("get %q: %v", id, err)
		}
		if _, err := j.Find(t.Context(), id); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("find %q: %v", id, err)
		}
	}
	begin(t, j, entry("w")) // entries without a key do not meet
	if got := begin(t, j, entry("w")); got.CreatedAt.IsZero() || got.CreatedAt.Location() != time.UTC {
		t.Errorf("created at %v", got.CreatedAt)
	}
}

func testBeginTwice(t *testing.T, f Factory) {
	j := f.Open(t)
	e := full()
	begin(t, j, e)
	must(t, j.End(t.Context(), e.ID, journal.Claim{Owner: "worker", Generation: 1}, journal.Failed, "r", nil))
	first, err := j.Get(t.Context(), e.ID) // what has ended counts too
	must(t, err)
	sameKey, sameID := full(), full()
	sameKey.Key, sameID.ID = e.Key, e.ID
	for _, again := range []journal.Entry{e, sameKey, sameID} {
		got, fresh, err := j.Begin(t.Context(), again)
		if err != nil || fresh {
			t.Errorf("begun again: %v, fresh %v", err, fresh)
		}
		if diff := cmp.Diff(*first, got); diff != "" {
			t.Errorf("what was there (-want +got):\n%s", diff)
		}
	}
	other := begin(t, j, full())
	both := other
	both.Key = e.Key // the key says more than the id
	if got, fresh, err := j.Begin(t.Context(), both); err != nil || fresh || got.ID != e.ID {
		t.Errorf("found %s, fresh %v, %v", got.ID, fresh, err)
	}
}

func testBeginAtOnce(t *testing.T, f Factory) {
	workers := []journal.Journal{f.Open(t), f.Open(t)}
	key := uuid.NewString()
	var fresh atomic.Int32
	var mu sync.Mutex
	ids := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			e := entry("w")
			e.Key, e.Subject, e.Exclusive = key, fmt.Sprint("subject ", i), true
			got, isFresh, err := workers[i%2].Begin(t.Context(), e)
			if err != nil {
				t.Error(err)
				return
			}
			if isFresh {
				fresh.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[got.ID] = true
		})
	}
	wg.Wait()
	if fresh.Load() != 1 || len(ids) != 1 {
		t.Errorf("%d fresh entries, %d ids", fresh.Load(), len(ids))
	}
}

func subject(name string, exclusive bool) journal.Entry {
	e := entry("w")
	e.Subject, e.Exclusive = name, exclusive
	return e
}

func testSubjects(t *testing.T, f Factory) {
	j := f.Open(t)
	busy := func(e journal.Entry, with string) {
		t.Helper()
		_, _, err := j.Begin(t.Context(), e)
		var b *journal.BusyError
		if !errors.As(err, &b) || b.Other.ID != with || b.Other.Input != nil {
			t.Errorf("error is %v, want one about %s", err, with)
		}
	}
	a := begin(t, j, subject("s", true))
	busy(subject("s", true), a.ID)
	busy(subject("s", false), a.ID)
	begin(t, j, subject("t", true))
	begin(t, j, subject("s ", true)) // what differs in blanks or case differs
	begin(t, j, subject("S", true))
	begin(t, j, subject("", true))
	begin(t, j, subject("", true))
	must(t, j.Start(t.Context(), a.ID, a.Claim))
	busy(subject("s", false), a.ID)
	if got, fresh, err := j.Begin(t.Context(), a); err != nil || fresh || got.ID != a.ID {
		t.Errorf("the one that is there: %v, fresh %v", err, fresh)
	}
	must(t, j.End(t.Context(), a.ID, a.Claim, journal.Succeeded, "", nil))

	b := begin(t, j, subject("s", false))
	c := begin(t, j, subject("s", false))
	busy(subject("s", true), b.ID)
	must(t, j.End(t.Context(), b.ID, b.Claim, journal.Succeeded, "", nil))
	busy(subject("s", true), c.ID)
	must(t, j.End(t.Context(), c.ID, c.Claim, journal.Cancelled, "", nil))
	begin(t, j, subject("s", true))
}

func testSubjectsAtOnce(t *testing.T, f Factory) {
	workers := []journal.Journal{f.Open(t), f.Open(t), f.Open(t)}
	for round := range 5 {
		var exclusive, shared, refused atomic.Int32
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				e := subject(fmt.Sprint("s", round), i%3 == 0)
				_, fresh, err := workers[i%len(workers)].Begin(t.Context(), e)
				var b *journal.BusyError
				switch {
				case errors.As(err, &b):
					refused.Add(1)
				case err != nil || !fresh:
					t.Errorf("begin: %v, fresh %v", err, fresh)
				case e.Exclusive:
					exclusive.Add(1)
				default:
					shared.Add(1)
				}
			})
		}
		wg.Wait()
		x, s := exclusive.Load(), shared.Load()
		if !(x == 1 && s == 0 || x == 0 && s == 20) || x+s+refused.Load() != 30 {
			t.Errorf("%d exclusive and %d shared entries, %d refused", x, s, refused.Load())
		}
	}
}

func testLife(t *testing.T, f Factory) {
	j := f.Open(t)
	e := begin(t, j, entry("w"))
	for range 2 { // every write may be repeated
		must(t, j.Start(t.Context(), e.ID, e.Claim))
	}
	running, err := j.Get(t.Context(), e.ID)
	must(t, err)
	if running.State != journal.Running || running.StartedAt.IsZero() || !running.EndedAt.IsZero() {
		t.Errorf("running: %+v", running)
	}
	for range 2 {
		must(t, j.End(t.Context(), e.ID, e.Claim, journal.Failed, "it broke", running.Input))
	}
	ended, err := j.Get(t.Context(), e.ID)
	must(t, err)
	want := *running
	want.State, want.Outcome, want.Reason, want.EndedAt = journal.Ended, journal.Failed, "it broke", ended.EndedAt
	if diff := cmp.Diff(&want, ended); diff != "" || ended.EndedAt.IsZero() {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
	if err := j.End(t.Context(), e.ID, e.Claim, journal.Succeeded, "", nil); !errors.Is(err, journal.ErrClaim) {
		t.Errorf("ended in another way: %v", err)
	}
	if err := j.End(t.Context(), e.ID, e.Claim, journal.Failed, "other", nil); !errors.Is(err, journal.ErrClaim) {
		t.Errorf("ended for another reason: %v", err)
	}
	unstarted := begin(t, j, entry("w"))
	must(t, j.End(t.Context(), unstarted.ID, unstarted.Claim, journal.Cancelled, "", nil))
}

// refusesAll checks that a claim permits no write.
func refusesAll(t *testing.T, j journal.Journal, id string, c journal.Claim) {
	t.Helper()
	for name, err := range map[string]error{
		"start":         j.Start(t.Context(), id, c),
		"write":         j.Write(t.Context(), id, c, mark("k", 1)),
		"write nothing": j.Write(t.Context(), id, c),
		"end":           j.End(t.Context(), id, c, journal.Succeeded, "x", nil),
	} {
		if !errors.Is(err, journal.ErrClaim) {
			t.Errorf("%s with claim %v: %v", name, c, err)
		}
	}
	if _, err := j.Adopt(t.Context(), id, c, "adopter"); !errors.Is(err, journal.ErrClaim) {
		t.Errorf("adopt with claim %v: %v", c, err)
	}
}

// testLeft checks that the input of an ended entry is the text given to the first End,
// of any length and for all readers.
func testLeft(t *testing.T, f Factory) {
	j := f.Open(t)
	secret := json.RawMessage(`"` + strings.Repeat("secret ", 1<<19) + `"`) // several parts
	for name, left := range map[string]json.RawMessage{"nothing": nil, "little": json.RawMessage(`{"answer":1}`), "much": json.RawMessage(`"` + strings.Repeat("x", 3<<20) + `"`)} {
		e := entry("w")
		e.Key, e.Input = name, secret
		e = begin(t, j, e)
		stranger := journal.Claim{Owner: "v", Generation: 1}
		if err := j.End(t.Context(), e.ID, stranger, journal.Failed, "", left); !errors.Is(err, journal.ErrClaim) {
			t.Errorf("a stranger's end: %v", err)
		}
		if got, err := j.Get(t.Context(), e.ID); err != nil || !bytes.Equal(got.Input, secret) {
			t.Errorf("after a stranger's end the input is of %d bytes (%v)", len(got.Input), err)
		}
		must(t, j.End(t.Context(), e.ID, e.Claim, journal.Failed, "", left))
		must(t, j.End(t.Context(), e.ID, e.Claim, journal.Failed, "", json.RawMessage(`"again"`)))
		for _, reader := range []journal.Journal{j, f.Open(t)} {
			byID, err := reader.Get(t.Context(), e.ID)
			must(t, err)
			byKey, err := reader.Find(t.Context(), name)
			must(t, err)
			if !bytes.Equal(byID.Input, left) || !bytes.Equal(byKey.Input, left) {
				t.Errorf("%s: %d and %d bytes are left, want %d", name, len(byID.Input), len(byKey.Input), len(left))
			}
		}
	}
	e := begin(t, j, entry("w"))
	if err := j.End(t.Context(), e.ID, e.Claim, journal.Failed, "", make(json.RawMessage, journal.MaxInput+1)); err == nil || errors.Is(err, journal.ErrClaim) {
		t.Errorf("too much is left: %v", err)
	}
}

func testClaims(t *testing.T, f Factory) {
	j := f.Open(t)
	e := begin(t, j, entry("w"))
	for _, c := range []journal.Claim{{}, {Owner: "w"}, {Owner: "w", Generation: 2}, {Owner: "v", Generation: 1}, {Owner: "w ", Generation: 1}, {Owner: "W", Generation: 1}} {
		refusesAll(t, j, e.ID, c)
	}
	for _, id := range []string{"nobody", "", "a\x00", "\xff"} {
		refusesAll(t, j, id, e.Claim)
	}
	must(t, j.End(t.Context(), e.ID, e.Claim, journal.Succeeded, "", nil))
	refusesAll(t, j, e.ID, e.Claim)
	if got := marks(t, j, e.ID, ""); got != "" {
		t.Errorf("marks of refused writes: %s", got)
	}
}

func testCancel(t *testing.T, f Factory) {
	j := f.Open(t)
	e := begin(t, j, entry("w"))
	by := func() string {
		got, err := j.Get(t.Context(), e.ID)
		must(t, err)
		return got.CancelledBy
	}
	must(t, j.Cancel(t.Context(), e.ID, "alice"))
	must(t, j.Cancel(t.Context(), e.ID, "bob"))
	if got := by(); got != "alice" {
		t.Errorf("cancelled by %q", got)
	}
	must(t, j.Start(t.Context(), e.ID, e.Claim)) // it is the owner who ends it
	must(t, j.End(t.Context(), e.ID, e.Claim, journal.Cancelled, "cancelled by alice", nil))
	if err := j.Cancel(t.Context(), e.ID, "carol"); !errors.Is(err, journal.ErrEnded) {
		t.Errorf("cancel of what has ended: %v", err)
	}
	if got := by(); got != "alice" {
		t.Errorf("cancelled by %q", got)
	}
	if err := j.Cancel(t.Context(), "nobody", "alice"); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("cancel of nothing: %v", err)
	}
	if err := j.Cancel(t.Context(), e.ID, ""); err == nil || errors.Is(err, journal.ErrEnded) {
		t.Errorf("cancel by nobody: %v", err)
	}
	again := begin(t, j, entry("w"))
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if err := j.Cancel(t.Context(), again.ID, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
