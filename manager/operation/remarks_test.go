// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// remarkOn is what the hooks of these tests remark.
func remarkOn(r resource.Resource, why string) remark.Remark {
	return remark.Remark{Resource: remark.Resource(r.Key()), Aspect: "zone", Was: "az1", Why: why}
}

// remarks returns a hook that remarks, for a reason, unless an earlier run of it has, and
// then goes on.
func remarks(why string, then protection.Hook) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		var told bool
		if err := c.LoadState(ctx, &told); err != nil {
			return err
		}
		if !told {
			c.Remark(remark.Remark{Aspect: "zone", Was: "az1", Why: why})
			if err := c.SaveState(ctx, true); err != nil {
				return err
			}
		}
		return then(ctx, c)
	}
}

func storedRemarks(t *testing.T, b *bench, id string) remark.Document {
	t.Helper()
	d, err := b.checkpoint(t, id).Remarks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What a hook has remarked before its worker died is in the checkpoint, once, whether the
// next run of the hook passes over it, says it again for another reason, or does not come;
// and show_operation has it.
func TestRemarksOutliveTheirWorker(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first  func(dies protection.Hook) protection.Hook
		second protection.Hook
		why    string
	}{
		"passed over": {func(dies protection.Hook) protection.Hook { return remarks("first", dies) }, remarks("second", done), "first"},
		"said again": {func(dies protection.Hook) protection.Hook { return remarks("first", dies) }, func(_ context.Context, c *protection.Call) error {
			c.Remark(remark.Remark{Aspect: "zone", Was: "az1", Why: "second"})
			return nil
		}, "second"},
		"the hook had ended": {func(dies protection.Hook) protection.Hook {
			return func(ctx context.Context, c *protection.Call) error {
				if c.Resource.ID == volume.ID {
					c.Remark(remark.Remark{Aspect: "zone", Was: "az1", Why: "first"})
					return nil
				}
				synctest.Wait() // until the end of the other hook is on record
				return dies(ctx, c)
			}
		}, func(_ context.Context, c *protection.Call) error {
			if c.Resource.ID == volume.ID {
				t.Error("a hook that had ended runs again")
			}
			return nil
		}, "first"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				plan := planOf(volume)
				if name == "the hook had ended" {
					plan = planOf(volume, server)
				}
				var first *process
				first = s.process(t, inBank(c.first(func(ctx context.Context, call *protection.Call) error { return first.dies(ctx, call) })), nil)
				id, err := first.engine.Protect(first.bench.ctx, Message{}, first.provider, plan, nil)
				if err != nil {
					t.Fatal(err)
				}
				first.engine.alive.Wait()
				if d := storedRemarks(t, s.bench, id); !d.Empty() {
					t.Errorf("before the end the checkpoint has %v", d)
				}
				second := s.process(t, inBank(c.second), nil)
				second.adopt(t, s.journal)
				if status := second.checkpoint(t, id).Status(); status != checkpoint.Available {
					t.Fatalf("the checkpoint is %s", status)
				}
				want := []remark.Remark{remarkOn(volume, c.why)}
				if diff := cmp.Diff(remark.Document{Version: 1, Remarks: want}, storedRemarks(t, second.bench, id)); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
				all, err := s.journal.List(t.Context(), journal.Filter{})
				if err != nil || len(all) != 1 {
					t.Fatal(all, err)
				}
				shown, err := second.engine.Operation(t.Context(), all[0].ID)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, shown.Remarks); diff != "" {
					t.Errorf("shown (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A copy has the remarks of its source, a deletion removes them, and a protection that
// failed leaves none.
func TestRemarksOfACheckpoint(t *testing.T) {
	t.Parallel()
	failing := false
	b := setup(t, inBank(remarks("gone", func(ctx context.Context, c *protection.Call) error {
		if failing {
			return errKilled
		}
		return nil
	})), nil)
	cp := protected(t, b, volume)
	want := remark.Document{Version: 1, Remarks: []remark.Remark{remarkOn(volume, "gone")}}
	if diff := cmp.Diff(want, storedRemarks(t, b, cp.ID())); diff != "" {
		t.Errorf("protected (-want +got):\n%s", diff)
	}
	pairs, err := b.engine.Copy(b.ctx, Message{}, b.provider, planOf(volume), []*checkpoint.Checkpoint{cp})
	if err != nil {
		t.Fatal(err)
	}
	b.finish()
	if diff := cmp.Diff(want, storedRemarks(t, b, pairs[0].Copy)); diff != "" {
		t.Errorf("copied (-want +got):\n%s", diff)
	}
	if err := b.engine.Delete(b.ctx, Message{}, b.provider, cp); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if _, err := b.bank.Get(t.Context(), "/checkpoints/"+cp.ID()+"/remarks.json"); err == nil {
		t.Error("a deletion has left the remarks")
	}
	failing = true
	failed := protected(t, b, server)
	if d := storedRemarks(t, b, failed.ID()); failed.Status() != checkpoint.Error || !d.Empty() {
		t.Errorf("the checkpoint is %s with %v", failed.Status(), d)
	}
}

// The remarks of a signed checkpoint go into its copy, which is signed with them. Those
// that were altered fail the copy, with the key and the reason.
func TestRemarksOfASignedCheckpoint(t *testing.T) {
	t.Parallel()
	for _, altered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, plugin := newSite(t), inBank(remarks("gone", done))
			p := signs(t, s.process(t, plugin, nil), plugin, s)
			id, err := p.engine.Protect(p.bench.ctx, Message{}, p.provider, planOf(volume), nil)
			if err != nil {
				t.Fatal(err)
			}
			p.finish()
			key := "/checkpoints/" + id + "/remarks.json"
			if altered {
				s.bank.Plugin.(*banktest.Memory).Set(key, banktest.Stored{Body: []byte(`{"version":1,"remarks":[]}`)})
			}
			pairs, err := p.engine.Copy(p.bench.ctx, Message{}, p.provider, planOf(volume), []*checkpoint.Checkpoint{p.checkpoint(t, id)})
			if err != nil {
				t.Fatal(err)
			}
			p.finish()
			copied := p.checkpoint(t, pairs[0].Copy)
			if !altered {
				want := remark.Document{Version: 1, Remarks: []remark.Remark{remarkOn(volume, "gone")}}
				if diff := cmp.Diff(want, storedRemarks(t, p.bench, copied.ID())); diff != "" || copied.Status() != checkpoint.Available {
					t.Errorf("the copy is %s (-want +got):\n%s", copied.Status(), diff)
				}
				return
			}
			row := s.records.log(t, protection.Copy)
			if copied.Status() != checkpoint.Error || !strings.Contains(row.ErrorInfo, key) || !strings.Contains(row.ErrorInfo, "it was altered") {
				t.Errorf("the copy is %s: %q", copied.Status(), row.ErrorInfo)
			}
		})
	}
}

// incomplete is a cloud in which something is left out.
type incomplete struct{ children }

func (c incomplete) Graph(ctx context.Context, starts []resource.Resource, _ func(resource.Resource) bool) (*resource.Graph, []remark.Remark, error) {
	graph, _, err := c.children.Graph(ctx, starts, nil)
	return graph, []remark.Remark{remarkOn(server, "no service")}, err
}

// What was left out of the graph is remarked of the checkpoint, also by the worker that
// goes on.
func TestRemarksOfTheGraph(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		var first *process
		first = s.process(t, inBank(func(ctx context.Context, c *protection.Call) error { return first.dies(ctx, c) }), nil,
			func(c *Config) { c.Protectables = incomplete{} })
		id, err := first.engine.Protect(first.bench.ctx, Message{}, first.provider, planOf(volume), nil)
		if err != nil {
			t.Fatal(err)
		}
		first.engine.alive.Wait()
		second := s.process(t, inBank(done), nil)
		second.adopt(t, s.journal)
		want := remark.Document{Version: 1, Remarks: []remark.Remark{remarkOn(server, "no service")}}
		if diff := cmp.Diff(want, storedRemarks(t, second.bench, id)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The remarks of a restore are in the operation, and are the reason of its resource; those
// of a verification are in the operation.
func TestRemarksOfARestore(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{func(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
		o, err := inBank(done).operation(kind, r)
		if work := o.Main; kind == protection.Restore || kind == protection.Verify {
			o.Main = remarks("gone", work)
		}
		return o, err
	}}, nil)
	cp := protected(t, b, volume)
	b.records.restores["r"], b.records.restores["v"] = database.Record{ID: "r"}, database.Record{ID: "v"}
	if err := b.engine.Restore(b.ctx, Message{}, b.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if err := b.engine.Verify(b.ctx, Message{}, b.provider, cp, Record{ID: "v", ProjectID: project}); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if got := b.records.restores["r"].ResourcesReason[volume.Type+"#new"]; got != "zone: was az1, is none (gone)" {
		t.Errorf("the reason is %q", got)
	}
	views, err := b.engine.Operations(t.Context(), journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, view := range views {
		shown, err := b.engine.Operation(t.Context(), view.ID)
		if err != nil {
			t.Fatal(err)
		}
		want := []remark.Remark{}
		if view.Type != string(protection.Protect) {
			want = append(want, remarkOn(volume, "gone"))
		}
		if diff := cmp.Diff(want, shown.Remarks); diff != "" {
			t.Errorf("%s (-want +got):\n%s", view.Type, diff)
		}
	}
	if d := storedRemarks(t, b, cp.ID()); !d.Empty() {
		t.Errorf("the checkpoint that was read has %v", d)
	}
}
