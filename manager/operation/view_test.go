// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// What is shown of a resource says which of its hooks are still to come, also
// before its turn.
func TestProgressShown(t *testing.T) {
	t.Parallel()
	reached, goOn := make(chan struct{}), make(chan struct{})
	plugin := hookPlugin{func(_ protection.Kind, r resource.Resource) (*protection.Operation, error) {
		nothing := func(context.Context, *protection.Call) error { return nil }
		if r.Key() == server.Key() {
			return &protection.Operation{Complete: nothing}, nil
		}
		return &protection.Operation{Main: nothing, Complete: func(_ context.Context, c *protection.Call) error {
			c.Progress(40)
			close(reached)
			<-goOn
			return nil
		}}, nil
	}}
	b := setup(t, plugin, children{server.Key(): {volume}})
	id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(server), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	entries, err := b.engine.journal.List(t.Context(), journal.Filter{CheckpointID: id})
	if err != nil || len(entries) != 1 {
		t.Fatalf("%+v, %v", entries, err)
	}
	d, err := b.engine.Operation(t.Context(), entries[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []progress.Resource{
		{Type: volume.Type, ID: "v", Hook: "on_complete", State: progress.Running, Percent: 40, Hooks: []string{"on_main", "on_complete"}, Done: []string{"on_main"}},
		{Type: server.Type, ID: "s", State: progress.Waiting, Hooks: []string{"on_complete"}},
	}
	if diff := cmp.Diff(want, d.Resources, cmpopts.IgnoreFields(progress.Resource{}, "StartedAt", "EndedAt")); diff != "" {
		t.Error(diff)
	}
	if at := d.Resources[0].StartedAt; at == nil || d.Resources[1].StartedAt != nil {
		t.Errorf("started at %v and %v", at, d.Resources[1].StartedAt)
	}
	close(goOn)
	b.finish()
}

// inputs is a journal that counts how often the input of an entry is read.
type inputs struct {
	journal.Journal
	read *atomic.Int64
}

func (i inputs) Get(ctx context.Context, id string) (*journal.Entry, error) {
	i.read.Add(1)
	return i.Journal.Get(ctx, id)
}

// Who looks at an operation each second does not have its input read each second.
func TestShownWithoutInput(t *testing.T) {
	t.Parallel()
	var read atomic.Int64
	entered, goOn := make(chan struct{}), make(chan struct{})
	b := setup(t, onMain(protection.Protect, func(context.Context, *protection.Call) error {
		close(entered)
		<-goOn
		return nil
	}), nil, func(c *Config) { c.Journal = inputs{journaltest.NewMemory(time.Now), &read} })
	if _, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil); err != nil {
		t.Fatal(err)
	}
	<-entered
	id := b.engine.only(t).entry.ID
	for range 3 {
		d, err := b.engine.Operation(t.Context(), id)
		if err != nil || len(d.Resources) != 1 || d.Status != "running" {
			t.Errorf("%+v, %v", d, err)
		}
	}
	close(goOn)
	b.finish()
	if d, err := b.engine.Operation(t.Context(), id); err != nil || d.Status != "succeeded" {
		t.Errorf("%+v, %v", d, err)
	}
	if n := read.Load(); n != 1 {
		t.Errorf("the input was read %d times", n)
	}
}
