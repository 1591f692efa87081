// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/fault"
)

// made is what the model knows of a checkpoint.
type made struct {
	id, provider, project, plan, date string
	timestamp                         int64
	deleted                           bool
}

// model lists by a plain reading of the rules.
func model(all []made, providerID, today string, o checkpoint.ListOptions) []string {
	less := func(a, b made) int {
		return cmp.Or(cmp.Compare(a.timestamp, b.timestamp), strings.Compare(a.id, b.id))
	}
	all = slices.Clone(all)
	slices.SortFunc(all, less)
	if o.Descending {
		slices.Reverse(all)
	}
	var marker *made
	for _, m := range all {
		if m.id == o.Marker {
			marker = &m
		}
	}
	var listed []string
	for _, m := range all {
		switch {
		case m.deleted, m.provider != providerID:
		case !o.AllTenants && m.project != o.ProjectID:
		case o.PlanID != "" && m.plan != o.PlanID:
		case o.StartDate != "" && (m.date < o.StartDate || m.date > cmp.Or(o.EndDate, today)):
		case marker != nil && (less(m, *marker) == 0 || (less(m, *marker) > 0) == o.Descending):
		case o.Limit > 0 && len(listed) == o.Limit:
		default:
			listed = append(listed, m.id)
		}
	}
	return listed
}

func TestListProperty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		var plugin bank.Plugin = banktest.NewMemory()
		if run++; rapid.Bool().Draw(r, "directory") && run%10 == 0 {
			var err error
			plugin, err = filesystem.New(filesystem.Config{Path: dir, Container: fmt.Sprint(run)}, nil)
			if err != nil {
				r.Fatal(err)
			}
		}
		b := bank.New(plugin, nil)
		now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		clock := now
		options := checkpoint.Options{Clock: func() time.Time { return clock }, MaxReads: rapid.IntRange(1, 4).Draw(r, "reads")}
		providers := map[string]*checkpoint.Collection{
			"A": checkpoint.NewCollection(b, "A", options), "B": checkpoint.NewCollection(b, "B", options),
		}
		var all []made
		var known []string
		for i := range rapid.IntRange(0, 12).Draw(r, "checkpoints") {
			m := made{
				id:       fmt.Sprintf("cp-%d", i),
				provider: rapid.SampledFrom([]string{"A", "A", "B"}).Draw(r, "provider"),
				project:  rapid.SampledFrom([]string{"p", "q"}).Draw(r, "project"),
				plan:     rapid.SampledFrom([]string{"x", "y"}).Draw(r, "plan"),
			}
			// A few seconds around midnight, so that times are equal often.
			clock = time.Date(2026, 11, 22+rapid.IntRange(0, 2).Draw(r, "day"), 0, 0, rapid.IntRange(-2, 2).Draw(r, "second"), 0, time.UTC)
			m.date, m.timestamp = clock.Format(time.DateOnly), clock.Unix()
			options.NewID = func() string { return m.id }
			cp, err := checkpoint.NewCollection(b, m.provider, options).Create(t.Context(), checkpoint.CreateOptions{
				Plan:   checkpoint.Plan{ID: m.plan, ProviderID: m.provider, ProjectID: m.project},
				Status: checkpoint.Deleting,
			})
			if err != nil {
				r.Fatal(err)
			}
			if m.deleted = rapid.IntRange(0, 4).Draw(r, "deleted") == 0; m.deleted {
				if err := cp.Delete(t.Context()); err != nil {
					r.Fatal(err)
				}
			}
			all, known = append(all, m), append(known, m.id)
		}
		clock = now
		dates := []string{"", "2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24"}
		for range 8 {
			id := rapid.SampledFrom([]string{"A", "B"}).Draw(r, "of")
			o := checkpoint.ListOptions{
				ProjectID:  rapid.SampledFrom([]string{"p", "q", "none"}).Draw(r, "project"),
				AllTenants: rapid.Bool().Draw(r, "all"),
				PlanID:     rapid.SampledFrom([]string{"", "x", "y", "none"}).Draw(r, "plan"),
				StartDate:  rapid.SampledFrom(dates).Draw(r, "start"),
				EndDate:    rapid.SampledFrom(dates).Draw(r, "end"),
				Limit:      rapid.IntRange(0, 5).Draw(r, "limit"),
				Descending: rapid.Bool().Draw(r, "descending"),
			}
			if len(known) > 0 && rapid.Bool().Draw(r, "with marker") {
				o.Marker = rapid.SampledFrom(known).Draw(r, "marker")
			}
			list, err := providers[id].List(t.Context(), o)
			at := slices.IndexFunc(all, func(m made) bool { return m.id == o.Marker })
			if err != nil && at >= 0 && all[at].provider != id && fault.Is(err, "CheckpointNotFound") {
				continue // a marker of the other provider, unless the index knows it
			}
			if at >= 0 && !o.AllTenants && all[at].project != o.ProjectID {
				if !fault.Is(err, "CheckpointNotFound") {
					r.Fatalf("list %+v: %v, with a marker of another project", o, err)
				}
				continue
			}
			if err != nil {
				r.Fatalf("list %+v: %v", o, err)
			}
			var got []string
			for _, cp := range list {
				got = append(got, cp.ID())
			}
			if diff := gocmp.Diff(model(all, id, "2026-11-24", o), got, cmpopts.EquateEmpty()); diff != "" {
				r.Fatalf("list of %s %+v (-want +got):\n%s\n%+v", id, o, diff, all)
			}
		}
	})
}

// The semantics that were recorded from the original on Swift. What the
// original gets wrong is listed with what is right.
func TestListAgainstRecording(t *testing.T) {
	t.Parallel()
	type recording struct {
		Args struct {
			Marker   string
			Limit    int
			SortDirs []string `json:"sort_dirs"`
			Filters  struct {
				PlanID    string `json:"plan_id"`
				StartDate string `json:"start_date"`
			}
		}
		Result json.RawMessage `json:"result_as_creation_index"`
	}
	text, err := os.ReadFile("testdata/swift_list_semantics.json")
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	var created []string
	if err := json.Unmarshal(raw["created_in_order"], &created); err != nil {
		t.Fatal(err)
	}
	w := newWorld(checkpoint.Options{})
	planned := plan
	planned.ID = "88888888-8888-4888-8888-888888888888"
	for i, id := range created {
		c := checkpoint.NewCollection(bank.New(w.memory, nil), provider, checkpoint.Options{
			NewID: func() string { return id },
			Clock: func() time.Time { return time.Unix(1795362440+int64(i), 0) },
		})
		if _, err := c.Create(t.Context(), checkpoint.CreateOptions{Plan: planned}); err != nil {
			t.Fatal(err)
		}
	}
	fixed := map[string][]int{
		"desc":               {4, 3, 2, 1, 0},
		"desc_limit2":        {4, 3},
		"desc_marker":        {2, 1, 0},
		"desc_marker_limit1": {2},
	}
	for name, text := range raw {
		var r recording
		if name == "created_in_order" || name == "after_delete" || name == "bad_marker" {
			continue
		}
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		want, isFixed := fixed[name]
		if !isFixed {
			if err := json.Unmarshal(r.Result, &want); err != nil {
				t.Fatal(err)
			}
		}
		list := ids(t, w.Collection, checkpoint.ListOptions{
			ProjectID: project, PlanID: r.Args.Filters.PlanID, StartDate: r.Args.Filters.StartDate,
			Marker: r.Args.Marker, Limit: r.Args.Limit, Descending: slices.Contains(r.Args.SortDirs, "desc"),
		})
		var got []int
		for _, id := range list {
			got = append(got, slices.Index(created, id))
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestListErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.create(t)
	refused := errors.New("refused")
	for name, test := range map[string]struct {
		o     checkpoint.ListOptions
		fault banktest.Method
		class string
	}{
		"unknown marker":  {o: checkpoint.ListOptions{Marker: "cp-9"}, class: "CheckpointNotFound"},
		"impossible one":  {o: checkpoint.ListOptions{Marker: "../x"}, class: "CheckpointNotFound"},
		"bad start":       {o: checkpoint.ListOptions{StartDate: "yesterday"}, class: "InvalidInput"},
		"bad end":         {o: checkpoint.ListOptions{StartDate: "2026-01-01", EndDate: "2026-02-30"}, class: "InvalidInput"},
		"bad end alone":   {o: checkpoint.ListOptions{EndDate: "never"}, class: "InvalidInput"},
		"failing listing": {fault: banktest.List, class: "BankListObjectsFailed"},
		"failing read":    {fault: banktest.Get, class: "BankGetObjectFailed"},
	} {
		test.o.ProjectID = project
		if test.fault != "" {
			w.faulty.Queue(test.fault, banktest.Fault{Err: refused})
		}
		if list, err := w.List(t.Context(), test.o); !fault.Is(err, test.class) {
			t.Errorf("%s: %d checkpoints, %v", name, len(list), err)
		}
	}
	for name, o := range map[string]checkpoint.ListOptions{
		"an end alone":        {ProjectID: project, EndDate: "2026-01-01"},
		"dates of one digit":  {ProjectID: project, StartDate: "2026-1-1"},
		"project of no key":   {ProjectID: "a b"},
		"no project":          {},
		"plan of no key":      {ProjectID: project, PlanID: "../x"},
		"limit below nothing": {ProjectID: project, Limit: -1},
	} {
		if _, err := w.List(t.Context(), o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever stands in the way of one checkpoint hides that one alone.
func TestListPassesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	for range 6 {
		w.create(t)
	}
	if err := w.memory.Delete(t.Context(), "/checkpoints/cp-1/index.json"); err != nil {
		t.Fatal(err)
	}
	w.setIndex("cp-2", "{")
	w.setIndex("cp-3", strings.Replace(w.index("cp-3"), "0.9", "2.0", 1))
	w.setIndex("cp-4", strings.Replace(w.index("cp-4"), `"provider_id": "provider-1", "project`, `"provider_id": "x", "project`, 1))
	w.setIndex("cp-5", strings.Replace(w.index("cp-5"), "protecting", "deleted", 1))
	// Keys from before October 2017, and what is no key of ours.
	for _, key := range []string{
		"by-provider/provider-1/1500000000@cp-6", "by-provider/provider-1/project-1/x@cp-6",
		"by-provider/provider-1/project-1/1500000000", "by-provider/provider-1/project-1/a/1500000000@cp-6",
		"by-plan/plan-1/2017-01-01/1500000000@cp-6", "by-plan/plan-1/project-1/never/1500000000@cp-6",
		"by-plan/plan-1/project-1/1500000000@cp-6",
	} {
		w.memory.Set("/indices/"+key, banktest.Stored{Body: []byte("cp-6")})
	}
	for _, o := range []checkpoint.ListOptions{
		{ProjectID: project}, {ProjectID: project, Limit: 1}, {AllTenants: true, Limit: 2, Descending: true},
		{ProjectID: project, PlanID: plan.ID}, {AllTenants: true, PlanID: plan.ID},
		{ProjectID: project, StartDate: "2017-01-01", EndDate: "2026-12-31", Limit: 1},
		{AllTenants: true, PlanID: plan.ID, StartDate: "2017-01-01", EndDate: "2026-12-31"},
	} {
		if diff := gocmp.Diff([]string{"cp-6"}, ids(t, w.Collection, o)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", o, diff)
		}
	}
}

// The original reads the clock for the timestamp after it did for the date: the
// date counts.
func TestDateAndTimestampDisagree(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.create(t)
	w.setIndex("cp-1", strings.Replace(w.index("cp-1"), `"created_at": "2026-11-22"`, `"created_at": "2026-11-21"`, 1))
	w.create(t)
	w.setIndex("cp-2", strings.Replace(w.index("cp-2"), `"created_at": "2026-11-22"`, `"created_at": "2026-11-23"`, 1))
	for day, want := range map[string][]string{"2026-11-21": {"cp-1"}, "2026-11-22": nil, "2026-11-23": {"cp-2"}} {
		got := ids(t, w.Collection, checkpoint.ListOptions{ProjectID: project, StartDate: day, EndDate: day})
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", day, diff)
		}
	}
}

// A page of a long listing costs a page of readings.
func TestListReadsNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{MaxReads: 4})
	for range 40 {
		w.create(t)
	}
	for _, test := range []struct {
		o    checkpoint.ListOptions
		gets int
	}{
		{checkpoint.ListOptions{ProjectID: project, Limit: 3}, 3},
		{checkpoint.ListOptions{ProjectID: project, Limit: 3, Marker: "cp-20", Descending: true}, 3},
		{checkpoint.ListOptions{AllTenants: true, Limit: 1}, 1},
		{checkpoint.ListOptions{ProjectID: project, PlanID: plan.ID, Limit: 3}, 4},
		{checkpoint.ListOptions{ProjectID: project}, 40},
	} {
		before := w.faulty.Calls(banktest.Get)
		want := test.o.Limit
		if want == 0 {
			want = 40
		}
		if list := ids(t, w.Collection, test.o); len(list) != want {
			t.Errorf("%+v gives %q", test.o, list)
		}
		if gets := w.faulty.Calls(banktest.Get) - before; gets != test.gets {
			t.Errorf("%+v cost %d readings instead of %d", test.o, gets, test.gets)
		}
	}
}
