// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
)

var (
	errDenied = fmt.Errorf("%w: permission denied", bank.ErrUnusable)
	errAway   = errors.New("the store is away")
)

// huge is a bank in which one object claims to be larger than any memory.
type huge struct {
	bank.Plugin
	key string
}

func (h huge) Get(ctx context.Context, key string) (*bank.Object, error) {
	o, err := h.Plugin.Get(ctx, key)
	if err == nil && key == h.key {
		o.Size = 1 << 50
	}
	return o, err
}

// ways are those in which the index.json of cp-2 becomes one that cannot be used.
func ways() map[string]func(*world) {
	const key = "/checkpoints/cp-2/index.json"
	text := func(change func(string) string) func(*world) {
		return func(w *world) { w.setIndex("cp-2", change(w.index("cp-2"))) }
	}
	is := func(content string) func(*world) { return text(func(string) string { return content }) }
	return map[string]func(*world){
		"refused":         func(w *world) { w.faulty.Spoil(key, errDenied) },
		"folder refused":  func(w *world) { w.faulty.Spoil("/checkpoints/cp-2/", errDenied) },
		"breaks off":      func(w *world) { w.faulty.SpoilBody(key, errDenied) },
		"too large":       func(w *world) { w.faulty.Plugin = huge{w.memory, key} },
		"empty":           is(""),
		"null":            is("null"),
		"a list":          is("[]"),
		"a text":          is(`"cp-2"`),
		"zeros":           is(strings.Repeat("\x00", 100)),
		"deep":            is(strings.Repeat("[", 100_000)),
		"deep below":      is(`{"version": ` + strings.Repeat("[", 100_000)),
		"byte order mark": text(func(s string) string { return "\ufeff" + s }),
		"truncated":       text(func(s string) string { return s[:len(s)/2] }),
		"doubled":         text(func(s string) string { return s + s }),
		"not UTF-8":       text(func(s string) string { return strings.Replace(s, "Pl\\u00e4n", "Pl\xe4n", 1) }),
		"another version": text(func(s string) string { return strings.Replace(s, "0.9", "9.9", 1) }),
		"another id":      text(func(s string) string { return strings.ReplaceAll(s, "cp-2", "cp-9") }),
		"time is a text":  text(func(s string) string { return strings.Replace(s, `"timestamp": `, `"timestamp": "x", "y": `, 1) }),
		"plan is a number": text(func(s string) string {
			return strings.Replace(s, `"protection_plan": `, `"protection_plan": 5, "x": `, 1)
		}),
		"status is a list": text(func(s string) string { return strings.Replace(s, `"available"`, "[]", 1) }),
	}
}

// One checkpoint that cannot be read, in whatever way, spoils no other: each kind of
// listing has the rest, and the log names the one. What is about the one alone fails
// and names it. Nothing of it is repaired away.
func TestUnusable(t *testing.T) {
	t.Parallel()
	for name, spoil := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, hook := logtest.NewNullLogger()
			w := newWorld(checkpoint.Options{Log: log})
			for range 4 {
				set(t, w.create(t), checkpoint.Available)
			}
			w.memory.Set("/checkpoints/cp-2/resource-data/v1/metadata", banktest.Stored{Body: []byte("{}")})
			spoil(w)
			objects := maps.Clone(w.memory.Objects())
			for _, c := range []struct {
				options checkpoint.ListOptions
				want    []string
			}{
				{checkpoint.ListOptions{}, []string{"cp-1", "cp-3", "cp-4"}},
				{checkpoint.ListOptions{AllTenants: true, Descending: true}, []string{"cp-4", "cp-3", "cp-1"}},
				{checkpoint.ListOptions{Limit: 2}, []string{"cp-1", "cp-3"}},
				{checkpoint.ListOptions{Limit: 1, Marker: "cp-1"}, []string{"cp-3"}},
				{checkpoint.ListOptions{Marker: "cp-2"}, []string{"cp-3", "cp-4"}},
				{checkpoint.ListOptions{PlanID: plan.ID}, []string{"cp-1", "cp-3", "cp-4"}},
				{checkpoint.ListOptions{StartDate: "2026-01-01"}, []string{"cp-1", "cp-3", "cp-4"}},
			} {
				c.options.ProjectID = project
				hook.Reset()
				found, err := w.List(t.Context(), c.options)
				ids := []string{}
				for _, cp := range found {
					ids = append(ids, cp.ID())
				}
				if diff := gocmp.Diff(c.want, ids); diff != "" || err != nil {
					t.Errorf("%+v (-want +got):\n%s%v", c.options, diff, err)
				}
				if c.options.Marker != "cp-2" && !warned(hook, "cp-2") {
					t.Errorf("%+v: the log does not name it", c.options)
				}
			}
			if _, err := w.Get(t.Context(), "cp-2"); err == nil || fault.Is(err, "CheckpointNotFound") {
				t.Errorf("show gives %v", err)
			} else if name != "another version" && !strings.Contains(err.Error(), "/checkpoints/cp-2/index.json") {
				t.Errorf("show does not name it: %v", err)
			}
			if found := issues(t, w); len(found) > 0 {
				t.Errorf("findings: %v", found)
			}
			for _, f := range []checkpoint.Issue{
				{Kind: checkpoint.OrphanedEntry, ID: "cp-2", Key: w.entries("cp-2")[0]},
				{Kind: checkpoint.OrphanedData, ID: "cp-2"},
				{Kind: checkpoint.Unfinished, ID: "cp-2", Status: checkpoint.Protecting},
			} {
				if done, err := w.Repair(t.Context(), f); done || err != nil {
					t.Errorf("%v was repaired: %t, %v", f, done, err)
				}
			}
			if diff := gocmp.Diff(objects, w.memory.Objects()); diff != "" {
				t.Errorf("the bank has changed:\n%s", diff)
			}
		})
	}
}

func warned(hook *logtest.Hook, id string) bool {
	return slices.ContainsFunc(hook.AllEntries(), func(e *logrus.Entry) bool {
		return e.Level == logrus.WarnLevel && e.Data["checkpoint_id"] == id
	})
}

// A store that is away is not an empty one, whatever it is that it fails at.
func TestOutageIsNotAnEmptyListing(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*world){
		"an object":  func(w *world) { w.faulty.Spoil("/checkpoints/cp-2/index.json", errAway) },
		"a body":     func(w *world) { w.faulty.SpoilBody("/checkpoints/cp-2/index.json", errAway) },
		"a listing":  func(w *world) { w.faulty.Queue(banktest.List, banktest.Fault{Err: errAway}) },
		"the folder": func(w *world) { w.faulty.Spoil("/indices/by-provider/"+provider+"/"+project+"/", errDenied) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(checkpoint.Options{})
			for range 3 {
				w.create(t)
			}
			spoil(w)
			if found, err := w.List(t.Context(), checkpoint.ListOptions{ProjectID: project}); err == nil {
				t.Errorf("listed %d", len(found))
			}
			if name == "the folder" {
				return // others can be looked at
			}
			spoil(w)
			if err := w.Check(t.Context(), func(checkpoint.Issue) error { return nil }); !errors.Is(err, errAway) {
				t.Errorf("survey gives %v", err)
			}
		})
	}
}

// A place that cannot be listed hides what is there, and no more: it is reported,
// and what it hides is not taken for missing.
func TestPlacesThatCannotBeListed(t *testing.T) {
	t.Parallel()
	log, hook := logtest.NewNullLogger()
	w := newWorld(checkpoint.Options{Log: log})
	for range 3 {
		set(t, w.create(t), checkpoint.Available)
	}
	other := plan
	other.ProjectID = "project-2"
	if _, err := w.Create(t.Context(), checkpoint.CreateOptions{ID: "theirs", Plan: other, Status: checkpoint.Available}); err != nil {
		t.Fatal(err)
	}
	w.faulty.Spoil("/indices/by-provider/"+provider+"/"+project+"/", errDenied)
	w.faulty.Spoil("/indices/by-plan/", errDenied)
	found, err := w.List(t.Context(), checkpoint.ListOptions{AllTenants: true})
	if err != nil || len(found) != 1 || found[0].ID() != "theirs" {
		t.Errorf("listed %d, %v", len(found), err)
	}
	if len(hook.AllEntries()) == 0 {
		t.Error("nothing was reported")
	}
	for _, f := range issues(t, w) {
		if still, err := w.Confirm(t.Context(), f); still || err != nil {
			t.Errorf("%v holds: %t, %v", f, still, err)
		}
	}
}

// Names that others have put into the store and that no key has are passed over,
// also where they fill whole pages.
func TestNamesThatAreNoKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	for range 3 {
		set(t, w.create(t), checkpoint.Available)
	}
	unended := w.create(t)
	for _, name := range []string{"c062~", "a b", "x\x00y", "b..c", "é", "\xff", "a//b", "..", ".", "tab\t", "cp-1/", "line\nfeed", "cr\r", "%2F", "#x"} {
		w.put("/checkpoints/" + name + "/index.json")
		w.put("/checkpoints/" + name)
		w.put("/checkpoints/cp-1/resource-data/" + name)
		w.put("/indices/by-provider/" + provider + "/" + project + "/1@" + name)
		w.put("/indices/by-provider/" + provider + "/" + name + "/1@cp")
	}
	for i := range 6000 { // more than a page of each walk
		w.put(fmt.Sprintf("/checkpoints/0~%d/index.json", i))
		w.put(fmt.Sprintf("/indices/by-provider/%s/%s/0~%d@x", provider, project, i))
	}
	for _, options := range []checkpoint.ListOptions{{ProjectID: project}, {AllTenants: true}} {
		found, err := w.List(t.Context(), options)
		if err != nil || len(found) != 4 {
			t.Errorf("%+v: listed %d, %v", options, len(found), err)
		}
	}
	found := slices.DeleteFunc(issues(t, w), func(f checkpoint.Issue) bool { return f.ID == "cp" })
	want := []checkpoint.Issue{{Kind: checkpoint.Unfinished, ID: "cp-4", Status: checkpoint.Protecting, Owner: unended.OwnerID()}}
	if diff := gocmp.Diff(want, found); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
}

// A checkpoint whose plan or project could be in no key has entries in no index: the
// original leaves such an index.json behind. It is no finding for ever.
func TestNamesThatNoEntryCanHave(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	set(t, w.create(t), checkpoint.Available)
	w.setIndex("cp-1", strings.Replace(w.index("cp-1"), `"plan-1"`, `"plan 1"`, 1))
	w.remove(t, w.entries("cp-1")[1]) // by-plan
	if found := issues(t, w); len(found) != 0 {
		t.Errorf("findings: %v", found)
	}
	cp := w.get(t, "cp-1")
	set(t, cp, checkpoint.Deleting)
	if err := cp.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

// Of orphaned data that cannot be removed the rest goes.
func TestOrphanedDataThatStay(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	for i := range 500 {
		w.put(fmt.Sprintf("/checkpoints/lost/resource-data/r/%03d", i))
	}
	for i := range 300 {
		w.faulty.Spoil(fmt.Sprintf("/checkpoints/lost/resource-data/r/%03d", i), errDenied)
	}
	done, err := w.Repair(t.Context(), checkpoint.Issue{Kind: checkpoint.OrphanedData, ID: "lost"})
	if !done || !errors.Is(err, bank.ErrUnusable) {
		t.Errorf("repaired: %t, %v", done, err)
	}
	if left := w.memory.Below("/checkpoints/lost/"); len(left) != 300 {
		t.Errorf("%d are left", len(left))
	}
}
