// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
)

// survey returns what is wrong: a tombstone is not.
func issues(t rapid.TB, w *world) []checkpoint.Issue {
	t.Helper()
	found := []checkpoint.Issue{}
	err := w.Check(context.Background(), func(f checkpoint.Issue) error {
		if f.Kind != checkpoint.Tombstone {
			found = append(found, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b checkpoint.Issue) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Key, b.Key))
	})
	return found
}

func (w *world) createAs(t rapid.TB, id, providerID string, status checkpoint.Status) *checkpoint.Checkpoint {
	t.Helper()
	c := w.Collection
	if providerID != provider {
		c = checkpoint.NewCollection(bank.New(w.memory, nil), providerID, checkpoint.Options{})
	}
	of := plan
	of.ProviderID = providerID
	cp, err := c.Create(context.Background(), checkpoint.CreateOptions{ID: id, Plan: of, Status: status})
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func (w *world) put(key string) { w.memory.Set(key, banktest.Stored{Body: []byte("x")}) }

func (w *world) remove(t rapid.TB, key string) {
	t.Helper()
	if err := w.memory.Delete(context.Background(), key); err != nil {
		t.Fatal(key, err)
	}
}

// entries are the keys of the index entries of a checkpoint.
func (w *world) entries(id string) []string {
	return slices.DeleteFunc(w.memory.Below("/indices/"), func(key string) bool { return !strings.HasSuffix(key, "@"+id) })
}

func TestCheckFindsEachFlaw(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.createAs(t, "good", provider, checkpoint.Available)
	unended := w.createAs(t, "unended", provider, checkpoint.Copying)
	w.createAs(t, "foreign", "provider-2", checkpoint.Protecting)
	w.createAs(t, "broken", provider, checkpoint.Protecting)
	w.setIndex("broken", "{")
	w.createAs(t, "lacking", provider, checkpoint.Error)
	lacks := w.entries("lacking")[1]
	w.remove(t, lacks)
	deleted := w.createAs(t, "deleted", provider, checkpoint.Deleting)
	entries := w.entries("deleted")
	if err := deleted.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.put(entries[0])
	w.put("/checkpoints/deleted/resource-data/r/metadata")
	w.put("/checkpoints/deleted/resource-data/r/status") // a deletion leaves it
	w.put("/checkpoints/deleted/remarks.json")
	w.createAs(t, "lost", provider, checkpoint.Available)
	w.remove(t, "/checkpoints/lost/index.json")
	w.put("/checkpoints/orphan/resource-data/r/metadata")
	w.put("/checkpoints/other/notes")                    // nobody's business
	w.put("/indices/by-provider/" + provider + "/1@old") // without a project
	w.put("/checkpoints/file")

	want := []checkpoint.Issue{
		{Kind: checkpoint.StrayData, ID: "deleted"},
		{Kind: checkpoint.StrayEntry, ID: "deleted", Key: entries[0]},
		{Kind: checkpoint.MissingEntry, ID: "lacking", Key: lacks},
		{Kind: checkpoint.OrphanedEntry, ID: "lost", Key: w.entries("lost")[0]},
		{Kind: checkpoint.OrphanedEntry, ID: "lost", Key: w.entries("lost")[1]},
		{Kind: checkpoint.OrphanedEntry, ID: "lost", Key: w.entries("lost")[2]},
		{Kind: checkpoint.OrphanedData, ID: "orphan"},
		{Kind: checkpoint.Unfinished, ID: "unended", Status: checkpoint.Copying, Owner: unended.OwnerID()},
	}
	found := issues(t, w)
	if diff := gocmp.Diff(want, found); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
	for _, f := range found {
		for _, done := range []bool{true, false} { // the second time there is nothing to do
			if still, err := w.Confirm(t.Context(), f); err != nil || still != done {
				t.Errorf("%v holds: %t, %v, want %t", f, still, err, done)
			}
			if got, err := w.Repair(t.Context(), f); err != nil || got != done {
				t.Errorf("%v is repaired: %t, %v, want %t", f, got, err, done)
			}
		}
	}
	if left := issues(t, w); len(left) > 0 {
		t.Errorf("after all were repaired: %v", left)
	}
	if got := w.get(t, "unended").Status(); got != checkpoint.Error {
		t.Errorf("an unended copy becomes %s", got)
	}
	if left := w.memory.Below("/checkpoints/deleted/resource-data/"); len(left) != 1 {
		t.Errorf("left of a deleted checkpoint: %q", left)
	}
	for _, key := range []string{"/checkpoints/deleted/resource-data/r/status", "/checkpoints/other/notes", "/checkpoints/file", "/indices/by-provider/" + provider + "/1@old"} {
		if _, there := w.memory.Objects()[key]; !there {
			t.Errorf("%s is gone", key)
		}
	}
}

// A survey that comes to its end tells how many checkpoints there are of each status; one
// that fails leaves what the last one told.
func TestCheckCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	if got := w.Counts(); got != nil {
		t.Errorf("before the first check: %v", got)
	}
	w.createAs(t, "a", provider, checkpoint.Available)
	w.createAs(t, "b", provider, checkpoint.Available)
	w.createAs(t, "c", provider, checkpoint.Error)
	w.createAs(t, "foreign", "provider-2", checkpoint.Available)
	issues(t, w)
	want := map[checkpoint.Status]int{checkpoint.Available: 2, checkpoint.Error: 1}
	if diff := gocmp.Diff(want, w.Counts()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w.createAs(t, "d", provider, checkpoint.Available)
	w.faulty.Queue(banktest.Get, banktest.Fault{Err: errors.New("away")})
	if err := w.Check(t.Context(), func(checkpoint.Issue) error { return nil }); err == nil {
		t.Error("a check of an unavailable bank succeeds")
	}
	if diff := gocmp.Diff(want, w.Counts()); diff != "" {
		t.Errorf("after a failed check -want +got:\n%s", diff)
	}
}

// Of a tombstone nothing stays, index.json goes last, and of other checkpoints nothing goes.
func TestTombstone(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.createAs(t, "good", provider, checkpoint.Available)
	others := w.memory.Keys()
	foreign := w.createAs(t, "foreign", "provider-2", checkpoint.Deleting)
	cp := w.createAs(t, "gone", provider, checkpoint.Deleting)
	w.put("/checkpoints/gone/resource-data/r/status")
	stray := w.entries("gone")[0]
	for _, one := range []*checkpoint.Checkpoint{cp, foreign} {
		if err := one.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	others = append(others, "/checkpoints/foreign/index.json")
	tombstones := func() (found []checkpoint.Issue) {
		if err := w.Check(t.Context(), func(f checkpoint.Issue) error {
			if f.Kind == checkpoint.Tombstone {
				found = append(found, f)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := checkpoint.Issue{Kind: checkpoint.Tombstone, ID: "gone", Created: cp.Timestamp()}
	if diff := gocmp.Diff([]checkpoint.Issue{want}, tombstones()); diff != "" {
		t.Fatalf("issues (-want +got):\n%s", diff)
	}
	w.put(stray) // which a listing may not have shown yet
	if found := tombstones(); found != nil {
		t.Errorf("with an entry in the index: %v", found)
	}
	errAway := errors.New("the store is away")
	w.faulty.Queue(banktest.Delete, banktest.Fault{Err: errAway})
	if _, err := w.Repair(t.Context(), want); !errors.Is(err, errAway) || w.get(t, "gone").Status() != checkpoint.Deleted {
		t.Errorf("the data cannot be removed: %v", err)
	}
	for _, done := range []bool{true, false} {
		if got, err := w.Repair(t.Context(), want); err != nil || got != done {
			t.Errorf("repaired: %t, %v, want %t", got, err, done)
		}
	}
	slices.Sort(others)
	if diff := gocmp.Diff(others, w.memory.Keys()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if done, err := w.Repair(t.Context(), checkpoint.Issue{Kind: checkpoint.Tombstone, ID: "good"}); err != nil || done {
		t.Errorf("a checkpoint that is there: %t, %v", done, err)
	}
}

// Data of resources are not listed, however many there are, and no id hides
// another one.
func TestCheckPassesOverData(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	var want []string
	for _, id := range []string{"a", "a-", "a.b", "a0", "a00", "a@", "aa", "b", "z"} {
		w.createAs(t, id, provider, checkpoint.Protecting)
		for i := range 1000 {
			w.put(fmt.Sprintf("/checkpoints/%s/resource-data/r/%d", id, i))
		}
		want = append(want, id)
	}
	before := w.faulty.Calls(banktest.List)
	var got []string
	for _, f := range issues(t, w) {
		got = append(got, f.ID)
	}
	slices.Sort(want)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if calls := w.faulty.Calls(banktest.List) - before; calls > len(want)+4 {
		t.Errorf("%d listings for %d checkpoints", calls, len(want))
	}
}

// A large bank takes pages and batches of every kind.
func TestCheckOfManyCheckpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	for i := range 700 {
		w.createAs(t, fmt.Sprintf("cp-%04d", i), provider, checkpoint.Deleting)
		if i%7 == 0 {
			w.put(fmt.Sprintf("/checkpoints/cp-%04d/resource-data/r/x", i))
		}
	}
	for i := range 600 {
		w.put(fmt.Sprintf("/indices/by-date/2026-11-22/project/1@gone-%04d", i))
	}
	counts := map[checkpoint.Kind]int{}
	for _, f := range issues(t, w) {
		counts[f.Kind]++
	}
	want := map[checkpoint.Kind]int{checkpoint.Unfinished: 700, checkpoint.OrphanedEntry: 600}
	if diff := gocmp.Diff(want, counts); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
}

// What a listing does not show yet is read before anything is said of it.
func TestCheckOfLaggingListing(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	cp := w.create(t)
	set(t, cp, checkpoint.Available)
	hidden := newWorld(checkpoint.Options{})
	for _, key := range w.memory.Below("/indices/") {
		hidden.memory.Set(key, w.memory.Objects()[key])
	}
	c := checkpoint.NewCollection(bank.New(listed{Plugin: w.memory, lists: hidden.memory}, nil), provider, checkpoint.Options{})
	err := c.Check(t.Context(), func(f checkpoint.Issue) error { return fmt.Errorf("found %v", f) })
	if err != nil {
		t.Error(err)
	}
}

// listed is a bank whose listings are those of another one.
type listed struct {
	bank.Plugin
	lists bank.Plugin
}

func (l listed) List(ctx context.Context, o bank.ListOptions) ([]string, error) {
	return l.lists.List(ctx, o)
}

func TestCheckFails(t *testing.T) {
	t.Parallel()
	errAway := errors.New("the store is away")
	w := newWorld(checkpoint.Options{})
	w.create(t)
	for n := range 4 { // three indices, the checkpoints
		faults := make([]banktest.Fault, n, n+1)
		w.faulty.Queue(banktest.List, append(faults, banktest.Fault{Err: errAway})...)
		if err := w.Check(t.Context(), func(checkpoint.Issue) error { return nil }); !errors.Is(err, errAway) {
			t.Errorf("listing %d fails, the check gives %v", n, err)
		}
	}
	w.faulty.Queue(banktest.Get, banktest.Fault{Err: errAway})
	if err := w.Check(t.Context(), func(checkpoint.Issue) error { return nil }); !errors.Is(err, errAway) {
		t.Errorf("index.json cannot be read, the check gives %v", err)
	}
	if err := w.Check(t.Context(), func(checkpoint.Issue) error { return errAway }); !errors.Is(err, errAway) {
		t.Errorf("the visitor fails, the check gives %v", err)
	}
}

// Whatever is lost, repairing all issues makes index.json and indices agree,
// and leaves no data without a checkpoint.
func TestMendProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(checkpoint.Options{})
		for i := range rapid.IntRange(0, 8).Draw(r, "checkpoints") {
			id := fmt.Sprintf("cp-%d", i)
			status := rapid.SampledFrom([]checkpoint.Status{checkpoint.Available, checkpoint.Deleting, checkpoint.Protecting}).Draw(r, "status")
			cp := w.createAs(r, id, rapid.SampledFrom([]string{provider, provider, "provider-2"}).Draw(r, "provider"), status)
			w.put("/checkpoints/" + id + "/resource-data/r/metadata")
			if status == checkpoint.Deleting && rapid.Bool().Draw(r, "deleted") {
				if err := cp.Delete(context.Background()); err != nil {
					r.Fatal(err)
				}
			}
		}
		for _, key := range w.memory.Keys() {
			if rapid.IntRange(0, 3).Draw(r, "lost") == 0 {
				w.remove(r, key)
			}
		}
		foreign := map[string]bool{}
		other := checkpoint.NewCollection(bank.New(w.memory, nil), "provider-2", checkpoint.Options{})
		for _, key := range w.memory.Below("/checkpoints/") {
			id := strings.Split(key, "/")[2]
			_, err := other.Get(context.Background(), id)
			foreign[id] = err == nil
		}
		before := w.memory.Keys()
		for _, f := range issues(r, w) {
			if done, err := w.Repair(context.Background(), f); err != nil || !done {
				r.Fatalf("%v: %t, %v", f, done, err)
			}
		}
		if left := issues(r, w); len(left) > 0 {
			r.Fatalf("left over: %v", left)
		}
		for _, key := range before {
			for id, theirs := range foreign {
				if theirs && strings.Contains(key, id) && !slices.Contains(w.memory.Keys(), key) {
					r.Fatalf("%s is another provider's and gone", key)
				}
			}
		}
	})
}
