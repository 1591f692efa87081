// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
)

// library is a container with checkpoints, and a worker that lists them.
type library struct {
	*fake
	*checkpoint.Collection
	ids []string
}

var bookPlan = checkpoint.Plan{ID: "plan", Name: "nightly", ProviderID: "provider", ProjectID: "project"}

// newLibrary has checkpoints of a number of objects each.
func newLibrary(t testing.TB, checkpoints, objects int, o checkpoint.Options) *library {
	t.Helper()
	l := &library{fake: newFake(t)}
	l.Collection = l.worker(t, o)
	for range checkpoints {
		cp, err := l.Create(t.Context(), checkpoint.CreateOptions{Plan: bookPlan, Status: checkpoint.Available})
		if err != nil {
			t.Fatal(err)
		}
		l.ids = append(l.ids, cp.ID())
		for i := range objects - 1 {
			l.containers["karbor"][fmt.Sprintf("/checkpoints/%s/resource-data/%d/data", cp.ID(), i)] = fakeObject{}
		}
	}
	return l
}

// worker is another one over the same container.
func (l *library) worker(t testing.TB, o checkpoint.Options) *checkpoint.Collection {
	t.Helper()
	return checkpoint.NewCollection(bank.New(newStore(t, config(l.fake)), nil), "provider", o)
}

// statuses are those that a project is shown, by id.
func statuses(t testing.TB, c *checkpoint.Collection, project string) map[string]checkpoint.Status {
	t.Helper()
	shown := map[string]checkpoint.Status{}
	if err := c.Look(t.Context(), checkpoint.ListOptions{ProjectID: project}, func(l *checkpoint.Listed) error {
		var view checkpoint.View
		text, err := l.Encoded(true)
		if err == nil {
			err = json.Unmarshal(text, &view)
		}
		shown[view.ID] = view.Status
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return shown
}

func setStatus(t testing.TB, c *checkpoint.Collection, id string, to checkpoint.Status) {
	t.Helper()
	cp, err := c.Get(t.Context(), id)
	if err == nil {
		err = cp.SetStatus(to)
	}
	if err == nil {
		err = cp.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func indexOf(id string) string { return "/checkpoints/" + id + "/index.json" }

// rewrite changes an index.json as somebody else does.
func (l *library) rewrite(id, old, with string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.containers["karbor"][indexOf(id)]
	o.body = bytes.ReplaceAll(o.body, []byte(old), []byte(with))
	l.containers["karbor"][indexOf(id)] = o
}

// lag has listings of the container show an index.json as it was, until undo.
func (l *library) lag(id string, was fakeObject) (undo func()) {
	set := func(hash func(string, fakeObject) string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.hash = hash
	}
	right := l.hash
	set(func(name string, o fakeObject) string {
		if name == indexOf(id) {
			return etag(was.body)
		}
		return right(name, o)
	})
	return func() { set(right) }
}

// reads are the ids of the index.json objects that were read, and listings the number of
// pages, since the last call.
func (l *library) traffic() (reads []string, listings int) {
	for _, r := range l.seen() {
		_, path, _ := strings.Cut(r, " ")
		if id, ok := strings.CutPrefix(path, "/v1/AUTH_project/karbor//checkpoints/"); ok {
			reads = append(reads, strings.TrimSuffix(id, "/index.json"))
		} else {
			listings++
		}
	}
	return reads, listings
}

// A listing that is repeated, and the look of the janitor, take a page of the index and one of
// the checkpoints, however many objects these have, and read only what has changed.
func TestLookReadsWhatHasChanged(t *testing.T) {
	t.Parallel()
	const checkpoints = 40
	l := newLibrary(t, checkpoints, 300, checkpoint.Options{}) // more objects than a page has
	other := l.worker(t, checkpoint.Options{})
	l.seen()
	look := func(name string, wantReads, wantListings int) map[string]checkpoint.Status {
		shown := statuses(t, l.Collection, "project")
		if reads, listings := l.traffic(); len(reads) != wantReads || listings != wantListings || len(shown) != checkpoints {
			t.Errorf("%s: %d are shown after %d reads and %d listings, want %d and %d", name, len(shown), len(reads), listings, wantReads, wantListings)
		}
		return shown
	}
	look("the first time", checkpoints, 1)
	look("again", 0, 2)
	setStatus(t, other, l.ids[3], checkpoint.Deleting)
	if _, err := l.Get(t.Context(), l.ids[0]); err != nil { // with a new token
		t.Fatal(err)
	}
	l.seen()
	if shown := look("after a change", 1, 2); shown[l.ids[3]] != checkpoint.Deleting {
		t.Errorf("another worker's change is not shown: %v", shown[l.ids[3]])
	}
	look("while it is at work", 1, 2)
	// The same size, in the same second.
	l.rewrite(l.ids[4], "nightly", "mightly")
	l.seen()
	look("after one of the same size", 2, 2)

	nothing := func(f checkpoint.Issue) error { return nil }
	for name, wantReads := range map[string]int{"the janitor's look": 1, "its next one": 1} {
		if err := l.Check(t.Context(), nothing); err != nil {
			t.Fatal(err)
		}
		if reads, listings := l.traffic(); len(reads) != wantReads || listings != 4 {
			t.Errorf("%s: reads %d, listings %d, want %d and 4", name, len(reads), listings, wantReads)
		}
	}
	if got := l.Counts()[checkpoint.Available]; got != checkpoints-1 {
		t.Errorf("%d are available, want %d", got, checkpoints-1)
	}
	// Few are read faster than a page of all is.
	if err := l.Look(t.Context(), checkpoint.ListOptions{ProjectID: "project", Limit: 10, Descending: true}, func(*checkpoint.Listed) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if reads, listings := l.traffic(); len(reads) != 10 || listings != 1 {
		t.Errorf("the newest ten: %d reads, %d listings", len(reads), listings)
	}
}

// A listing of Swift's that lags behind never hides what this worker has written, nor what
// it has read before. Nor does an object server that lags have what it says taken for what
// the listing means.
func TestLookBehindALag(t *testing.T) {
	t.Parallel()
	l := newLibrary(t, 20, 1, checkpoint.Options{})
	other := l.worker(t, checkpoint.Options{})
	id := l.ids[7]
	is := func(name string, want checkpoint.Status) {
		t.Helper()
		for range 2 {
			if got := statuses(t, l.Collection, "project")[id]; got != want {
				t.Errorf("%s: %q is shown, want %q", name, got, want)
			}
		}
	}
	is("at first", checkpoint.Available)

	was, _ := l.stored("karbor", indexOf(id))
	undo := l.lag(id, was)
	setStatus(t, l.Collection, id, checkpoint.Error)
	is("what this worker wrote", checkpoint.Error)
	undo()
	is("what this worker wrote, later", checkpoint.Error)

	was, _ = l.stored("karbor", indexOf(id))
	undo = l.lag(id, was)
	setStatus(t, other, id, checkpoint.Available)
	if _, err := l.Get(t.Context(), id); err != nil { // it is shown alone
		t.Fatal(err)
	}
	is("what this worker has read", checkpoint.Available)
	undo()

	was, _ = l.stored("karbor", indexOf(id))
	setStatus(t, other, id, checkpoint.Error)
	behind := l.last(id, func(w http.ResponseWriter, r *http.Request) bool {
		serve(w, r, was)
		return true
	})
	is("an object server lags", checkpoint.Available)
	behind()
	is("an object server has lagged", checkpoint.Error)
}

// What is kept passes every check that what is read does.
func TestLookChecks(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("one "+strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	signing, err := checkpoint.LoadSigning(keys, true)
	if err != nil {
		t.Fatal(err)
	}
	l := newLibrary(t, 20, 1, checkpoint.Options{Signing: signing})
	first := statuses(t, l.Collection, "project")
	forged, stolen := l.ids[0], l.ids[1]
	l.rewrite(forged, "nightly", "mightly")
	l.mu.Lock()
	for key, o := range maps.Clone(l.containers["karbor"]) {
		if rest, ok := strings.CutPrefix(key, "/indices/by-provider/provider/project/"); ok && strings.HasSuffix(rest, stolen) {
			l.containers["karbor"]["/indices/by-provider/provider/thief/"+rest] = o
		}
	}
	l.mu.Unlock()
	for range 2 {
		shown := statuses(t, l.Collection, "project")
		if _, there := shown[forged]; there || len(shown) != len(first)-1 {
			t.Errorf("an altered checkpoint is shown: %v", shown)
		}
		if shown := statuses(t, l.Collection, "thief"); len(shown) > 0 {
			t.Errorf("another project is shown %v", shown)
		}
	}
	l.rewrite(forged, "mightly", "nightly")
	if shown := statuses(t, l.Collection, "project"); !maps.Equal(shown, first) {
		t.Errorf("as it was: %v, want %v", shown, first)
	}
	if l.Refused() != 2 {
		t.Errorf("%d were refused, want 2", l.Refused())
	}
}

// Ids need not be UUIDs: those with an r in them are found, too.
func TestLookAtOtherIDs(t *testing.T) {
	t.Parallel()
	l := newLibrary(t, 0, 0, checkpoint.Options{})
	want := []string{}
	for i := range 30 {
		id := fmt.Sprintf("carrier-%s-%d", strings.Repeat("r", i%3), i)
		if i%5 == 0 {
			id = uuid.NewString()
		}
		if _, err := l.Create(t.Context(), checkpoint.CreateOptions{ID: id, Plan: bookPlan, Status: checkpoint.Available}); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	slices.Sort(want)
	for range 2 {
		if got := slices.Sorted(maps.Keys(statuses(t, l.Collection, "project"))); !slices.Equal(got, want) {
			t.Errorf("shown %q, want %q", got, want)
		}
		if err := l.Check(t.Context(), func(f checkpoint.Issue) error { return fmt.Errorf("found %v", f) }); err != nil {
			t.Error(err)
		}
		if got := l.Counts()[checkpoint.Available]; got != len(want) {
			t.Errorf("%d counted, want %d", got, len(want))
		}
	}
}

// BenchmarkLook lists checkpoints, by a worker that has just been started and by one that
// has listed them before, and checks them as the janitor does. Swift is in the same process,
// and its CPU time counts.
func BenchmarkLook(b *testing.B) {
	for _, count := range []int{1000, 20_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) { benchmarkLook(b, count) })
	}
}

func benchmarkLook(b *testing.B, count int) {
	l := newLibrary(b, count, 10, checkpoint.Options{})
	measure := func(b *testing.B, look func()) {
		before := cpu()
		n := 0
		for b.Loop() {
			look()
			n++
		}
		b.ReportMetric(float64((cpu()-before).Microseconds())/1000/float64(n), "cpu-ms/op")
		b.ReportMetric(float64(len(l.seen()))/float64(n), "requests/op")
	}
	l.seen()
	b.Run("first", func(b *testing.B) {
		measure(b, func() { statuses(b, l.worker(b, checkpoint.Options{}), "project") })
	})
	statuses(b, l.Collection, "project")
	l.seen()
	b.Run("again", func(b *testing.B) {
		measure(b, func() {
			if err := l.Look(b.Context(), checkpoint.ListOptions{ProjectID: "project"}, func(*checkpoint.Listed) error { return nil }); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("check", func(b *testing.B) {
		measure(b, func() {
			if err := l.Check(b.Context(), func(checkpoint.Issue) error { return nil }); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// cpu is the CPU time of the process.
func cpu() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
