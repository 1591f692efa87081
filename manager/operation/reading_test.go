// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// onMain makes a plugin whose operations of one kind have this main hook.
func onMain(kind protection.Kind, hook protection.Hook) hookPlugin {
	return hookPlugin{func(k protection.Kind, _ resource.Resource) (*protection.Operation, error) {
		if k != kind {
			return nil, nil
		}
		return &protection.Operation{Main: hook}, nil
	}}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	b := setup(t, onMain(protection.Restore, func(ctx context.Context, c *protection.Call) error {
		c.NewResources.Set(c.Resource.ID, "new")
		return c.UpdateStatus(ctx, "new", "available", "")
	}), nil)
	cp := protected(t, b, volume)
	b.records.restores["r"] = database.Record{ID: "r"}
	if err := b.engine.Restore(b.ctx, Message{}, b.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if r := b.records.restores["r"]; r.Status != "success" || r.ResourcesStatus["OS::Cinder::Volume#new"] != "available" {
		t.Errorf("restore %+v", r)
	}
	row := b.records.log(t, protection.Restore)
	if row.Status != "success" || row.EndedAt.IsZero() || row.RestoreID != "r" || row.CheckpointID != cp.ID() {
		t.Errorf("operation log %+v", row)
	}
	if b.checkpoint(t, cp.ID()).Status() != checkpoint.Available {
		t.Error("the restore changed the checkpoint")
	}
}

func TestRestoreOfAForgottenRecord(t *testing.T) {
	t.Parallel()
	var ran atomic.Bool
	b := setup(t, onMain(protection.Restore, func(context.Context, *protection.Call) error { ran.Store(true); return nil }), nil)
	cp := protected(t, b, volume)
	if err := b.engine.Restore(b.ctx, Message{}, b.provider, cp, Record{ID: "gone", ProjectID: project}); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if ran.Load() {
		t.Error("a hook ran for a restore that nobody waits for")
	}
	if row := b.records.log(t, protection.Restore); row.Status != "fail" || row.ErrorInfo != "Restore gone could not be found." {
		t.Errorf("operation log %+v", row)
	}
}

func TestVerifyFails(t *testing.T) {
	t.Parallel()
	b := setup(t, onMain(protection.Verify, func(context.Context, *protection.Call) error {
		return fault.VerifyResourceFailed("Volume Backup", "gone", "v", resource.Volume)
	}), nil)
	cp := protected(t, b, volume)
	b.records.restores["v"] = database.Record{ID: "v"}
	if err := b.engine.Verify(b.ctx, Message{}, b.provider, cp, Record{ID: "v", ProjectID: project}); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if r := b.records.restores["v"]; r.Status != "fail" {
		t.Errorf("verification %+v", r)
	}
}

func TestVerifyWithoutOperation(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{func(k protection.Kind, _ resource.Resource) (*protection.Operation, error) {
		if k == protection.Verify {
			return nil, fmt.Errorf("cannot: %w", protection.ErrNoOperation)
		}
		return nil, nil
	}}, nil)
	cp := protected(t, b, volume)
	b.records.restores["v"] = database.Record{ID: "v"}
	err := b.engine.Verify(b.ctx, Message{}, b.provider, cp, Record{ID: "v", ProjectID: project})
	requireFault(t, err, "FlowError", "Flow: verify, Error: Failed to create flow")
	if r := b.records.restores["v"]; r.Status != "fail" {
		t.Errorf("verification %+v", r)
	}
	if row := b.records.log(t, protection.Verify); row.EndedAt.IsZero() {
		t.Errorf("operation log %+v is open", row)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{}, nil)
	cp := protected(t, b, volume)
	if err := b.engine.Delete(b.ctx, Message{}, b.provider, cp); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if status := b.checkpoint(t, cp.ID()).Status(); status != checkpoint.Deleted {
		t.Errorf("status %s", status)
	}
	if left := keys(t, b.bank); len(left) != 1 {
		t.Errorf("left in the bank: %v, want index.json alone", left)
	}
	if row := b.records.log(t, protection.Delete); row.Status != "deleted" || row.EndedAt.IsZero() {
		t.Errorf("operation log %+v", row)
	}
}

// Of two deletions that were both checked before one of them began, the second
// is refused.
func TestTwoDeletions(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := setup(t, onMain(protection.Delete, func(context.Context, *protection.Call) error { <-release; return nil }), nil,
		func(c *Config) { c.Patience = -1 })
	defer b.finish()
	defer close(release)
	id := protected(t, b, volume).ID()
	first, second := b.checkpoint(t, id), b.checkpoint(t, id)
	if err := b.engine.Delete(b.ctx, Message{}, b.provider, first); err != nil {
		t.Fatal(err)
	}
	err := b.engine.Delete(b.ctx, Message{}, b.provider, second)
	entries, _ := b.engine.journal.List(t.Context(), journal.Filter{Kind: string(protection.Delete)})
	if len(entries) != 1 {
		t.Fatalf("entries %+v", entries)
	}
	requireFault(t, err, "InvalidInput", "Invalid input received: Checkpoint "+id+" is in use: a delete (operation "+
		entries[0].ID+") is at work on it.")
}

func TestDeleteFailsAndIsDoneAgain(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	b := setup(t, onMain(protection.Delete, func(context.Context, *protection.Call) error {
		if broken.Load() {
			return errors.New("backend is away")
		}
		return nil
	}), nil)
	cp := protected(t, b, volume)
	if err := b.engine.Delete(b.ctx, Message{}, b.provider, cp); err != nil {
		t.Fatal(err)
	}
	b.wait(t, cp.ID())
	cp = b.checkpoint(t, cp.ID())
	if cp.Status() != checkpoint.ErrorDeleting {
		t.Fatalf("status %s, want error-deleting", cp.Status())
	}
	broken.Store(false)
	if err := b.engine.Delete(b.ctx, Message{}, b.provider, cp); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if status := b.checkpoint(t, cp.ID()).Status(); status != checkpoint.Deleted {
		t.Errorf("status %s", status)
	}
}

// A checkpoint whose provider has lost the plugin for a type can go when there
// is nothing of that type in the bank, and must stay when there is.
func TestDeleteWithoutPlugin(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{false, true} {
		b := setup(t, onMain(protection.Protect, func(ctx context.Context, c *protection.Call) error {
			if stored {
				return c.Section.PutText(ctx, "status", "available")
			}
			return nil
		}), nil)
		cp := protected(t, b, resource.Resource{Type: resource.Volume, ID: "v"})
		r := b.engine.newRun(journal.Entry{ID: newID(), Kind: string(protection.Delete)}, &input{Checkpoint: cp.ID()},
			&requestcontext.RequestContext{}, b.provider)
		r.flow.Provider = noPlugins{}
		err := r.open(b.ctx)
		if err == nil {
			err = r.work.build(b.ctx)
		}
		if stored {
			requireFault(t, err, "ProtectionPluginNotFound", "Protection Plugin for OS::Cinder::Volume could not be found.")
		} else if err != nil {
			t.Errorf("nothing is stored, but it cannot be deleted: %v", err)
		}
	}
}

type noPlugins struct{}

func (noPlugins) Plugin(t string) (protection.Plugin, error) {
	return nil, fault.ProtectionPluginNotFound(t)
}

func TestDeleteWithoutFlowKeepsTheStatus(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{func(k protection.Kind, _ resource.Resource) (*protection.Operation, error) {
		if k == protection.Delete {
			return nil, errors.New("no")
		}
		return nil, nil
	}}, nil)
	cp := protected(t, b, volume)
	err := b.engine.Delete(b.ctx, Message{}, b.provider, cp)
	requireFault(t, err, "KarborException", "Failed to create delete checkpoint flow.")
	if status := b.checkpoint(t, cp.ID()).Status(); status != checkpoint.Available {
		t.Errorf("status %s, want what it was", status)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	targets := map[string]string{}
	b := setup(t, onMain(protection.Copy, func(_ context.Context, c *protection.Call) error {
		mu.Lock()
		defer mu.Unlock()
		targets[c.Checkpoint.ID()] = c.Copy.ID()
		return nil
	}), nil)
	first, second := protected(t, b, volume), protected(t, b, volume)
	pairs, err := b.engine.Copy(b.ctx, Message{}, b.provider, planOf(volume), []*checkpoint.Checkpoint{first, second})
	if err != nil {
		t.Fatal(err)
	}
	b.finish()
	if len(pairs) != 2 || pairs[0].Source != first.ID() || pairs[1].Source != second.ID() {
		t.Fatalf("pairs %+v", pairs)
	}
	for _, pair := range pairs {
		if targets[pair.Source] != pair.Copy {
			t.Errorf("checkpoint %s was copied to %q, want %s", pair.Source, targets[pair.Source], pair.Copy)
		}
		cp := b.checkpoint(t, pair.Copy)
		if cp.Status() != checkpoint.Available || Copyable(cp) {
			t.Errorf("copy: status %s, extra_info %s: want available, and no source of a further copy", cp.Status(), cp.ExtraInfo())
		}
	}
	if !Copyable(b.checkpoint(t, first.ID())) {
		t.Error("the source can no longer be copied")
	}
}

// What cannot be copied leaves nothing behind.
func TestCopyWithoutOperation(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{func(k protection.Kind, _ resource.Resource) (*protection.Operation, error) {
		if k == protection.Copy {
			return nil, protection.ErrNoOperation
		}
		return nil, nil
	}}, nil)
	cp := protected(t, b, volume)
	before := keys(t, b.bank)
	_, err := b.engine.Copy(b.ctx, Message{}, b.provider, planOf(volume), []*checkpoint.Checkpoint{cp})
	requireFault(t, err, "FlowError", "Flow: copy, Error: The plugin for OS::Cinder::Volume can not copy.")
	if after := keys(t, b.bank); len(after) != len(before) {
		t.Errorf("the bank holds %v, want %v", after, before)
	}
}

// dyingBegin is a journal whose process dies before it has begun so many entries.
type dyingBegin struct {
	journal.Journal
	process *process
	left    *int
}

func (j dyingBegin) Begin(ctx context.Context, e journal.Entry) (journal.Entry, bool, error) {
	if *j.left--; *j.left < 0 {
		j.process.kill()
		return journal.Entry{}, false, errKilled
	}
	return j.Journal.Begin(ctx, e)
}

// A message that asks for several copies is not acknowledged before all of them
// are on record, and the next delivery goes on with those that are.
func TestCopiesBegunInPart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	plugin := onMain(protection.Copy, func(context.Context, *protection.Call) error { return nil })
	first := s.process(t, plugin, nil)
	sources := []*checkpoint.Checkpoint{protected(t, first.bench, volume), protected(t, first.bench, volume)}
	first.engine.journal = dyingBegin{first.engine.journal, first, new(1)}
	acknowledged := false
	message := Message{Key: "message", Accepted: func() { acknowledged = true }}
	if _, err := first.engine.Copy(first.bench.ctx, message, first.provider, planOf(volume), sources); err == nil || acknowledged {
		t.Fatalf("acknowledged: %t, error %v", acknowledged, err)
	}
	first.engine.alive.Wait()

	second := s.process(t, plugin, nil)
	if _, known, err := second.engine.Answered(second.bench.ctx, message); known || err != nil {
		t.Fatalf("answered %t, %v", known, err)
	}
	pairs, err := second.engine.Copy(second.bench.ctx, message, second.provider, planOf(volume), sources)
	if err != nil || !acknowledged {
		t.Fatalf("acknowledged: %t, error %v", acknowledged, err)
	}
	second.finish()
	second.adopt(t, s.journal)
	entries, err := s.journal.List(t.Context(), journal.Filter{Kind: string(protection.Copy)})
	if err != nil || len(entries) != 2 || len(pairs) != 2 {
		t.Fatalf("%d copies on record, %v; answer %+v", len(entries), err, pairs)
	}
	for _, pair := range pairs {
		if status := s.checkpoint(t, pair.Copy).Status(); status != checkpoint.Available {
			t.Errorf("copy %s is %s", pair.Copy, status)
		}
	}
}

// A plan without resources copies what each source holds, and nothing of a source that holds nothing.
func TestCopyOfEachSource(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	copied := map[string][]string{}
	b := setup(t, onMain(protection.Copy, func(_ context.Context, c *protection.Call) error {
		mu.Lock()
		defer mu.Unlock()
		copied[c.Checkpoint.ID()] = append(copied[c.Checkpoint.ID()], c.Resource.ID)
		return nil
	}), nil)
	other := resource.Resource{Type: resource.Volume, ID: "w", Name: "other"}
	first, second, empty := protected(t, b, volume), protected(t, b, other), protected(t, b)
	pairs, err := b.engine.Copy(b.ctx, Message{}, b.provider, planOf(), []*checkpoint.Checkpoint{first, second, empty})
	if err != nil {
		t.Fatal(err)
	}
	b.finish()
	if len(pairs) != 2 {
		t.Fatalf("pairs %+v", pairs)
	}
	for i, want := range []string{"v", "w"} {
		if got := copied[pairs[i].Source]; !slices.Equal(got, []string{want}) {
			t.Errorf("of checkpoint %d %v were copied, want %s", i, got, want)
		}
		if isEmpty(b.checkpoint(t, pairs[i].Copy)) {
			t.Errorf("copy %d holds nothing", i)
		}
	}
	pairs, err = b.engine.Copy(b.ctx, Message{}, b.provider, planOf(), []*checkpoint.Checkpoint{empty})
	if err != nil || len(pairs) != 0 {
		t.Errorf("of nothing: %v, %v", pairs, err)
	}
}

// What holds nothing is neither verified nor restored, and the record says so.
func TestReadingOfNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
		return &protection.Operation{}, nil
	}}, nil)
	cp := protected(t, b)
	b.records.restores["r"] = database.Record{ID: "r", Status: "in_progress"}
	for _, start := range []func(context.Context, Message, *providers.Provider, *checkpoint.Checkpoint, Record) error{b.engine.Restore, b.engine.Verify} {
		err := start(b.ctx, Message{}, b.provider, cp, Record{ID: "r", ProjectID: project})
		requireFault(t, err, "InvalidInput", "Invalid input received: Checkpoint "+cp.ID()+" holds no resources.")
	}
	if got := b.records.restores["r"].Status; got != "fail" {
		t.Errorf("the record's status is %q", got)
	}
}
