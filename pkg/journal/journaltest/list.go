// SPDX-License-Identifier: Apache-2.0

package journaltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/journal"
)

func list(t testing.TB, j journal.Journal, f journal.Filter) []string {
	t.Helper()
	entries, err := j.List(t.Context(), f)
	must(t, err)
	ids := []string{}
	for _, e := range entries {
		if e.Input != nil {
			t.Errorf("%s is listed with its input", e.ID)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

func testList(t *testing.T, f Factory) {
	j := f.Open(t)
	now := time.Now()
	add := func(id string, e journal.Entry) journal.Entry {
		e.ID, e.Input, e.CreatedAt = id, json.RawMessage("1"), now
		now = now.Add(time.Second)
		return begin(t, j, e)
	}
	add("a", journal.Entry{Kind: "protect", Subject: "s", ProjectID: "p", ProviderID: "v", CheckpointID: "c", Claim: claim("w")})
	b := add("b", journal.Entry{Kind: "protect", ProjectID: "q", ProviderID: "v", CheckpointID: "c", Claim: claim("x")})
	add("c", journal.Entry{Kind: "restore", ProjectID: "p", ProviderID: "u", CheckpointID: "d", Claim: claim("w")})
	d := add("d", journal.Entry{Kind: "restore", ProjectID: "p", ProviderID: "u", CheckpointID: "c", Claim: claim("x")})
	must(t, j.End(t.Context(), b.ID, b.Claim, journal.Succeeded, "", nil))
	must(t, j.Cancel(t.Context(), "c", "alice"))
	must(t, j.Start(t.Context(), d.ID, d.Claim))
	for want, filter := range map[string]journal.Filter{
		"d c b a": {},
		"d c a":   {ProjectID: "p"},
		"b a":     {ProviderID: "v"},
		"d b a":   {CheckpointID: "c"},
		"a":       {Subject: "s"},
		"d b":     {Owner: "x"},
		"d c":     {Kind: "restore"},
		"c a":     {Unfinished: true, Owner: "w"},
		"d":       {Unfinished: true, CheckpointID: "c", Kind: "restore", ProjectID: "p", ProviderID: "u", Owner: "x"},
		"c":       {Cancelling: true},
		"d  c":    {Limit: 2},
		"b  a":    {Marker: "c"},
		"c  b":    {Marker: "d", Limit: 2},
		"a ":      {Marker: "d", ProviderID: "v", Limit: 1, Owner: "w"},
		"":        {Marker: "a"},
		" ":       {ProjectID: "P"},
		"  ":      {ProjectID: "p "},
		"   ":     {Kind: "a\x00"},
		"    ":    {Owner: "\xff"},
		"     ":   {Owner: strings.Repeat("x", 1000)},
	} { // blanks in the keys only make them different
		if diff := cmp.Diff(strings.Fields(want), list(t, j, filter)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", filter, diff)
		}
	}
	for _, marker := range []string{"nobody", "a\x00"} {
		if _, err := j.List(t.Context(), journal.Filter{Marker: marker}); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("after %q: %v", marker, err)
		}
	}
	for project, want := range map[string]error{"": nil, "q": nil, "p": journal.ErrNotFound, "Q": journal.ErrNotFound, "none": journal.ErrNotFound} {
		if _, err := j.List(t.Context(), journal.Filter{ProjectID: project, Marker: "b"}); !errors.Is(err, want) {
			t.Errorf("listing project %q after an operation of q: %v", project, err)
		}
	}
}

// Pages show each entry once, whatever is begun and ended meanwhile.
func testPages(t *testing.T, f Factory) {
	j := f.Open(t)
	now := time.Now()
	want := []string{}
	for i := range 23 {
		e := entry("w")
		e.CreatedAt = now.Add(time.Duration(i/5) * time.Second) // five at a time
		want = append(want, begin(t, j, e).ID)
	}
	slices.Sort(want)
	got, filter := []string{}, journal.Filter{Limit: 4}
	for page := list(t, j, filter); len(page) > 0; page = list(t, j, filter) {
		got = append(got, page...)
		filter.Marker = page[len(page)-1]
		e := entry("w")
		e.CreatedAt = now.Add(time.Hour)
		begin(t, j, e)
	}
	all := list(t, j, journal.Filter{})
	if diff := cmp.Diff(all[len(all)-len(got):], got); diff != "" {
		t.Errorf("pages have another order (-listing +pages):\n%s", diff)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func testPrune(t *testing.T, f Factory) {
	j := f.Open(t)
	begun := time.Now()
	keep, gone := begin(t, j, entry("w")), entry("w")
	gone.Key, gone.Subject, gone.Exclusive = "key", "s", true
	gone = begin(t, j, gone)
	must(t, j.Write(t.Context(), gone.ID, gone.Claim, mark("k", 1)))
	must(t, j.Write(t.Context(), keep.ID, keep.Claim, mark("k", 1)))
	must(t, j.End(t.Context(), gone.ID, gone.Claim, journal.Succeeded, "", nil))
	for i := range 120 { // more than a transaction's
		e := begin(t, j, entry(fmt.Sprint("w", i)))
		must(t, j.End(t.Context(), e.ID, e.Claim, journal.Failed, "", nil))
	}
	announce(t, j, "w", 0)            // owns something
	announce(t, j, "w0", 0)           // owns nothing that goes on
	announce(t, j, "live", time.Hour) // may own something soon
	prune := func(before time.Time, want int, owners ...string) {
		t.Helper()
		n, err := j.Prune(t.Context(), before)
		must(t, err)
		if n != want {
			t.Errorf("%d entries pruned, want %d", n, want)
		}
		known, err := j.Owners(t.Context())
		must(t, err)
		var ids []string
		for _, o := range known {
			ids = append(ids, o.ID)
		}
		if diff := cmp.Diff(owners, ids); diff != "" {
			t.Errorf("owners (-want +got):\n%s", diff)
		}
	}
	prune(begun.Add(-time.Hour), 0, "live", "w", "w0")
	prune(time.Now().Add(time.Hour), 121, "live", "w")
	if _, err := j.Get(t.Context(), gone.ID); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("after pruning: %v", err)
	}
	if _, err := j.Find(t.Context(), "key"); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("after pruning: %v", err)
	}
	if got := marks(t, j, gone.ID, "") + marks(t, j, keep.ID, ""); got != "k=1\n" {
		t.Errorf("marks after pruning: %s", got)
	}
	gone.Input = json.RawMessage(`"new"`)
	begin(t, j, gone) // all of it may come again
	got, err := j.Get(t.Context(), gone.ID)
	must(t, err)
	if string(got.Input) != `"new"` {
		t.Errorf("input is %s", got.Input)
	}
}

func testReopen(t *testing.T, f Factory) {
	if !f.Durable {
		t.Skip("this journal ends with its process")
	}
	j := f.Open(t)
	e := full()
	e.Input = []byte(`"` + uuid.NewString() + `"`)
	e = begin(t, j, e)
	must(t, j.Start(t.Context(), e.ID, e.Claim))
	must(t, j.Write(t.Context(), e.ID, e.Claim, mark("k", 1)))
	must(t, j.Cancel(t.Context(), e.ID, "alice"))
	announce(t, j, "worker", time.Hour)
	if has, err := j.Lock(t.Context(), "l", "worker", time.Hour); err != nil || !has {
		t.Fatal(has, err)
	}
	before, err := j.Get(t.Context(), e.ID)
	must(t, err)
	must(t, j.Close())

	j = f.Open(t)
	after, err := j.Get(t.Context(), e.ID)
	must(t, err)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if got := marks(t, j, e.ID, ""); got != "k=1\n" {
		t.Errorf("marks after a restart: %s", got)
	}
	if !live(t, j, "worker") {
		t.Error("the announcement did not last")
	}
	if has, err := j.Lock(t.Context(), "l", "other", time.Hour); err != nil || has {
		t.Errorf("the lock did not last: %v", err)
	}
}
