// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
)

const (
	provider = "provider-1"
	project  = "project-1"
)

var plan = checkpoint.Plan{
	ID: "plan-1", Name: "Plän", ProviderID: provider, ProjectID: project,
	Resources: []resource.Resource{{Type: resource.Volume, ID: "v1", Name: "vol", ExtraInfo: json.RawMessage(`"{}"`)}},
}

// world is a collection whose ids are cp-1, cp-2 and so on, made a minute
// apart.
type world struct {
	memory *banktest.Memory
	faulty *banktest.Faulty
	*checkpoint.Collection

	mu   sync.Mutex
	made int
}

func newWorld(o checkpoint.Options) *world {
	w := &world{memory: banktest.NewMemory()}
	w.faulty = banktest.NewFaulty(w.memory)
	start := time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)
	o.NewID = func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.made++
		return fmt.Sprintf("cp-%d", w.made)
	}
	o.Clock = func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return start.Add(time.Duration(w.made) * time.Minute)
	}
	w.Collection = checkpoint.NewCollection(bank.New(w.faulty, nil), provider, o)
	return w
}

// pass lets a minute pass.
func (w *world) pass() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
}

func (w *world) create(t *testing.T) *checkpoint.Checkpoint {
	t.Helper()
	cp, err := w.Create(t.Context(), checkpoint.CreateOptions{Plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func (w *world) get(t *testing.T, id string) *checkpoint.Checkpoint {
	t.Helper()
	cp, err := w.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func (w *world) index(id string) string {
	return string(w.memory.Objects()["/checkpoints/"+id+"/index.json"].Body)
}

func (w *world) setIndex(id, text string) {
	w.memory.Set("/checkpoints/"+id+"/index.json", banktest.Stored{Body: []byte(text), Serialized: bank.JSON})
}

func set(t *testing.T, cp *checkpoint.Checkpoint, to checkpoint.Status) {
	t.Helper()
	if err := cp.SetStatus(to); err != nil {
		t.Fatal(err)
	}
	if err := cp.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Two workers make one checkpoint: the one was stopped before it had written
// anything, for so long that the other took over. Whoever is late finds what is
// there, and leaves it as it is.
func TestCreateOfWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.faulty.Queue(banktest.Put, banktest.Fault{Before: func(ctx context.Context, _ string) {
		cp, err := w.Create(ctx, checkpoint.CreateOptions{ID: "cp", Plan: plan})
		if err != nil {
			t.Error(err)
			return
		}
		set(t, cp, checkpoint.Available)
		w.pass()
	}})
	cp, err := w.Create(t.Context(), checkpoint.CreateOptions{ID: "cp", Plan: plan})
	if err != nil || cp.Status() != checkpoint.Available {
		t.Errorf("got %v, %v", cp, err)
	}
	want := []string{
		"/checkpoints/cp/index.json",
		"/indices/by-date/2026-11-22/project-1/1795388400@cp",
		"/indices/by-plan/plan-1/project-1/2026-11-22/1795388400@cp",
		"/indices/by-provider/provider-1/project-1/1795388400@cp",
	}
	if diff := cmp.Diff(want, w.memory.Keys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	cp := w.create(t)
	want := []string{
		"/checkpoints/cp-1/index.json",
		"/indices/by-date/2026-11-22/project-1/1795388400@cp-1",
		"/indices/by-plan/plan-1/project-1/2026-11-22/1795388400@cp-1",
		"/indices/by-provider/provider-1/project-1/1795388400@cp-1",
	}
	if diff := cmp.Diff(want, w.memory.Keys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	text := `{"version": "0.9", "id": "cp-1", "status": "protecting", "owner_id": "` + w.memory.OwnerID() + `", ` +
		`"provider_id": "provider-1", "project_id": "project-1", "protection_plan": {"id": "plan-1", "name": "Pl\u00e4n", ` +
		`"provider_id": "provider-1", "resources": [{"id": "v1", "type": "OS::Cinder::Volume", "name": "vol", "extra_info": "{}"}]}, ` +
		`"extra_info": null, "created_at": "2026-11-22", "timestamp": 1795388400}`
	if diff := cmp.Diff(text, w.index("cp-1")); diff != "" {
		t.Errorf("index.json (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(plan, w.get(t, "cp-1").Plan()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if _, ok := cp.ResourceGraph(); ok || cp.View().ResourceGraph != "[{}, []]" {
		t.Errorf("graph before it is built is shown as %q", cp.View().ResourceGraph)
	}
}

// Wherever the creation fails nothing of it remains, also when the failed
// write was done and only its answer got lost.
func TestCreateIsUndone(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for step := range 4 {
		for _, late := range []bool{false, true} {
			w := newWorld(checkpoint.Options{})
			ctx, cancel := context.WithCancelCause(t.Context())
			faults := append(make([]banktest.Fault, step), banktest.Fault{
				Err: refused, Late: late,
				Before: func(context.Context, string) {
					if !late {
						cancel(refused) // the caller gives up at the same time
					}
				},
			})
			w.faulty.Queue(banktest.Put, faults...)
			if _, err := w.Create(ctx, checkpoint.CreateOptions{Plan: plan}); !errors.Is(err, refused) {
				t.Errorf("step %d: error is %v", step, err)
			}
			if keys := w.memory.Keys(); len(keys) != 0 {
				t.Errorf("step %d late %t: left %q", step, late, keys)
			}
			cancel(nil)
		}
	}
}

func TestGetRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.create(t)
	other := checkpoint.NewCollection(bank.New(w.memory, nil), "provider-2", checkpoint.Options{})
	anyone := checkpoint.NewCollection(bank.New(w.memory, nil), "provider-2", checkpoint.Options{AnyProvider: true})
	if _, err := anyone.Get(t.Context(), "cp-1"); err != nil {
		t.Errorf("any provider: %v", err)
	}
	if _, err := other.Get(t.Context(), "cp-1"); !fault.Is(err, "CheckpointNotFound") {
		t.Errorf("other provider: %v", err)
	}
	for _, id := range []string{"", "cp-2", "..", ".", "../checkpoints/cp-1", "cp-1/", strings.Repeat("x", 300)} {
		if _, err := w.Get(t.Context(), id); !fault.Is(err, "CheckpointNotFound") {
			t.Errorf("id %q: %v", id, err)
		}
	}
	for _, id := range []string{"a b", "ü", "cp-1\x00", "a#b"} {
		if _, err := w.Get(t.Context(), id); !fault.Is(err, "InvalidParameterValue") {
			t.Errorf("id %q: %v", id, err)
		}
	}
	refused := errors.New("refused")
	w.faulty.Queue(banktest.Get, banktest.Fault{Err: refused})
	if _, err := w.Get(t.Context(), "cp-1"); !fault.Is(err, "BankGetObjectFailed") || !errors.Is(err, refused) {
		t.Errorf("failing bank: %v", err)
	}
}

func TestBrokenIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.create(t)
	good := w.index("cp-1")
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in index.json", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	const where = "Get Object /checkpoints/cp-1/index.json in Bank Failed: "
	for name, test := range map[string]struct{ text, want string }{
		"empty":           {"", where + "it is not JSON: unexpected end"},
		"cut":             {good[:100], where + "it is not JSON: unexpected end"},
		"text":            {"protecting", where + "it is not JSON: invalid character"},
		"list":            {"[]", where + "it is not a JSON object"},
		"more":            {good + "}", where + "it is not JSON: invalid character '}' after"},
		"version":         {replace(`"0.9"`, `"1.0"`), "Checkpoint was created in an unsupported version"},
		"version type":    {replace(`"0.9"`, `0.9`), where + `"version" is not a text`},
		"no version":      {replace(`"version"`, `"v"`), where + `"version" is missing`},
		"status type":     {replace(`"protecting"`, `7`), where + `"status" is not a text`},
		"other id":        {replace(`"id": "cp-1"`, `"id": "cp-2"`), where + `"id" is "cp-2"`},
		"timestamp text":  {replace(`1795388400`, `"1795388400"`), where + `"timestamp" is not an integer`},
		"timestamp float": {replace(`1795388400`, `1.5`), where + `"timestamp" is not an integer`},
		"plan list":       {replace(`"resources": [`, `"resources": {}, "x": [`), where + `"protection_plan" is not an object with`},
		"plan missing":    {replace(`"protection_plan"`, `"plan"`), where + `"protection_plan" is missing`},
		"graph type":      {good[:len(good)-1] + `, "resource_graph": []}`, where + `"resource_graph" is not a text`},
	} {
		w.setIndex("cp-1", test.text)
		_, err := w.Get(t.Context(), "cp-1")
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: error is %q, want %q", name, err, test.want)
		}
		var classed *fault.Error
		if !errors.As(err, &classed) {
			t.Errorf("%s: %T is no error of the catalogue", name, err)
		}
	}
	// null where the original has a text, and a graph of null, are tolerated.
	w.setIndex("cp-1", replace(`"extra_info": null`, `"extra_info": {}, "resource_graph": null`))
	cp := w.get(t, "cp-1")
	if cp.View().ResourceGraph != "[{}, []]" || string(cp.ExtraInfo()) != "{}" {
		t.Errorf("view is %+v", cp.View())
	}
}

// Keys that we do not know, and changes that others made, survive a commit.
func TestCommitMerges(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.create(t)
	w.setIndex("cp-1", strings.Replace(w.index("cp-1"), `"status"`, `"vendor": {"b":1, "a": [1.50]}, "status"`, 1))
	first, second := w.get(t, "cp-1"), w.get(t, "cp-1")
	second.SetExtraInfo(json.RawMessage(`"second"`))
	if err := second.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.SetResourceGraph("[{}, []]")
	set(t, first, checkpoint.Available)

	text := w.index("cp-1")
	for _, part := range []string{
		`"id": "cp-1", "vendor": {"b": 1, "a": [1.5]}, "status": "available"`,
		`"extra_info": "second"`, `"timestamp": 1795388400, "resource_graph": "[{}, []]"}`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("index.json lacks %s: %s", part, text)
		}
	}
	if string(first.ExtraInfo()) != `"second"` {
		t.Errorf("the other's change is not seen: %s", first.ExtraInfo())
	}
	puts := w.faulty.Calls(banktest.Put)
	if err := first.Commit(t.Context()); err != nil || w.faulty.Calls(banktest.Put) != puts {
		t.Errorf("a commit without changes wrote, or %v", err)
	}
}

func TestCommitConflicts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		theirs, ours []checkpoint.Status
		conflict     bool
	}{
		"protect ends while it is deleted": {theirs: []checkpoint.Status{"deleting"}, ours: []checkpoint.Status{"available"}, conflict: true},
		"protect ends after the deletion":  {theirs: []checkpoint.Status{"deleting", "deleted"}, ours: []checkpoint.Status{"error"}, conflict: true},
		"two deletions":                    {theirs: []checkpoint.Status{"deleting"}, ours: []checkpoint.Status{"deleting"}, conflict: true},
		"reset while it protects":          {theirs: []checkpoint.Status{"error"}, ours: []checkpoint.Status{"available"}},
		"copying after its end":            {theirs: []checkpoint.Status{"available"}, ours: []checkpoint.Status{"protecting"}, conflict: true},
		"nobody else":                      {ours: []checkpoint.Status{"available", "deleting", "error-deleting", "deleting", "deleted"}},
		"deletion that could not be built": {ours: []checkpoint.Status{"available", "deleting", "available"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(checkpoint.Options{})
			w.create(t)
			ours, theirs := w.get(t, "cp-1"), w.get(t, "cp-1")
			for _, s := range test.theirs {
				set(t, theirs, s)
			}
			before := w.index("cp-1")
			for _, s := range test.ours {
				if err := ours.SetStatus(s); err != nil {
					t.Fatal(err)
				}
				err := ours.Commit(t.Context())
				if errors.Is(err, checkpoint.ErrConflict) != test.conflict || !test.conflict && err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			if test.conflict && w.index("cp-1") != before {
				t.Error("the refused commit wrote")
			}
		})
	}
}

// A slow bank holds up neither readers nor further changes.
func TestChangesDuringCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	cp := w.create(t)
	w.faulty.Queue(banktest.Put, banktest.Fault{Before: func(context.Context, string) {
		if cp.Status() != checkpoint.Available {
			t.Errorf("status is %s", cp.Status())
		}
		if err := cp.SetStatus(checkpoint.Deleting); err != nil {
			t.Error(err)
		}
		cp.SetResourceGraph("late")
	}})
	cp.SetResourceGraph("early")
	set(t, cp, checkpoint.Available)
	written := w.get(t, "cp-1")
	if graph, _ := written.ResourceGraph(); written.Status() != checkpoint.Available || graph != "early" {
		t.Errorf("first commit wrote %s", w.index("cp-1"))
	}
	if graph, _ := cp.ResourceGraph(); cp.Status() != checkpoint.Deleting || graph != "late" {
		t.Errorf("later changes are gone: %+v", cp.View())
	}
	if err := cp.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	written = w.get(t, "cp-1")
	if graph, _ := written.ResourceGraph(); written.Status() != checkpoint.Deleting || graph != "late" {
		t.Errorf("second commit wrote %s", w.index("cp-1"))
	}
}

// The write was done and its answer got lost: the second commit must not take
// our own status for somebody else's.
func TestCommitCanBeRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	cp := w.create(t)
	set(t, cp, checkpoint.Available)
	if err := cp.SetStatus(checkpoint.Deleting); err != nil {
		t.Fatal(err)
	}
	w.faulty.Queue(banktest.Put, banktest.Fault{Err: errors.New("timeout"), Late: true}, banktest.Fault{Err: errors.New("timeout")})
	for range 2 {
		if err := cp.Commit(t.Context()); err == nil {
			t.Fatal("no error")
		}
	}
	if err := cp.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	if w.get(t, "cp-1").Status() != checkpoint.Deleting {
		t.Errorf("index.json is %s", w.index("cp-1"))
	}
}

func TestDeleteCanBeRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	cp := w.create(t)
	if err := cp.Delete(t.Context()); !errors.Is(err, checkpoint.ErrTransition) {
		t.Errorf("deleting what protects gives %v", err)
	}
	set(t, cp, checkpoint.Deleting)
	w.faulty.Queue(banktest.Delete, banktest.Fault{}, banktest.Fault{Err: errors.New("refused")})
	if err := cp.Delete(t.Context()); !fault.Is(err, "BankDeleteObjectFailed") {
		t.Errorf("a failed deletion gives %v", err)
	}
	if list := ids(t, w.Collection, checkpoint.ListOptions{ProjectID: project, PlanID: plan.ID}); len(list) != 0 {
		t.Errorf("listed although deleted: %q", list)
	}
	if err := w.get(t, "cp-1").Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"/checkpoints/cp-1/index.json"}, w.memory.Keys()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if status := w.get(t, "cp-1").View().Status; status != checkpoint.Deleted {
		t.Errorf("a deleted checkpoint shows %s", status)
	}
}

// Many writers of one checkpoint lose none of their changes.
func TestConcurrentCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	w.create(t)
	set(t, w.get(t, "cp-1"), checkpoint.Available)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			cp := w.get(t, "cp-1")
			switch i % 3 {
			case 0:
				cp.SetResourceGraph("graph")
			case 1:
				cp.SetExtraInfo(json.RawMessage(`"extra"`))
			default:
				if err := cp.SetStatus(checkpoint.Error); err != nil {
					t.Error(err)
				}
			}
			if err := cp.Commit(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			_ = cp.View()
		})
	}
	group.Wait()
	cp := w.get(t, "cp-1")
	graph, _ := cp.ResourceGraph()
	if graph != "graph" || string(cp.ExtraInfo()) != `"extra"` || cp.Status() != checkpoint.Error {
		t.Errorf("lost a change: %s", w.index("cp-1"))
	}
}

// deadStore is a store of leases that nobody reaches.
type deadStore struct{}

var errDead = errors.New("unreachable")

func (deadStore) Acquire(context.Context, string, time.Duration) error { return errDead }
func (deadStore) Renew(context.Context, string, time.Duration) error   { return errDead }
func (deadStore) Held(context.Context, string) (bool, error)           { return false, errDead }
func (deadStore) Release(context.Context, string) error                { return errDead }

// Nothing of a checkpoint is written by one who cannot be seen to live, and the
// error says what is wrong with the lease.
func TestLeaseGuardsCheckpoints(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	lease := bank.NewLease(deadStore{}, memory.OwnerID(), bank.DefaultLeaseWindows(), bank.Clock{}, nil)
	b := bank.New(memory, lease)
	c := checkpoint.NewCollection(b, provider, checkpoint.Options{})
	_, err := c.Create(t.Context(), checkpoint.CreateOptions{Plan: plan})
	if !fault.Is(err, "AcquireLeaseFailed") || !strings.Contains(err.Error(), errDead.Error()) || len(memory.Keys()) != 0 {
		t.Errorf("without a lease: %v, keys %q", err, memory.Keys())
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	all := []checkpoint.Status{
		checkpoint.Error, checkpoint.Protecting, checkpoint.WaitCopying, checkpoint.Copying, checkpoint.Finished,
		checkpoint.Available, checkpoint.Deleting, checkpoint.Deleted, checkpoint.ErrorDeleting,
	}
	allowed := map[checkpoint.Status]string{
		"protecting":     "available deleting error protecting",
		"wait_copying":   "available copying deleting error wait_copying",
		"copying":        "available copying deleting error finished",
		"finished":       "available deleting error finished",
		"available":      "available deleting error",
		"error":          "available deleting error",
		"deleting":       "available deleted deleting error error-deleting",
		"error-deleting": "available deleting error error-deleting",
		"deleted":        "deleted",
		"whatever":       "available deleting error",
	}
	for from, want := range allowed {
		var got []string
		for _, to := range append(all, "whatever", "") {
			if from.CanBecome(to) {
				got = append(got, string(to))
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s can become %q, want %q", from, got, want)
		}
	}
	for _, s := range all {
		if !s.Known() {
			t.Errorf("%s is not known", s)
		}
	}
	if checkpoint.Status("whatever").Known() || checkpoint.Available.Unfinished() || !checkpoint.Deleting.Unfinished() {
		t.Error("Known or Unfinished is wrong")
	}
}
