// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Calls are answered while operations wait for a slot, and these run in the
// order in which they came.
func TestMaxOperations(t *testing.T) {
	t.Parallel()
	started, release := make(chan string, 8), make(chan struct{})
	b := setup(t, onMain(protection.Protect, func(_ context.Context, c *protection.Call) error {
		started <- c.Checkpoint.ID()
		<-release
		return nil
	}), nil, func(c *Config) { c.Limits.Total = 1 })
	var ids []string
	for range 3 {
		id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if running, waiting := b.engine.Running(); running != 1 || waiting != 2 {
		t.Errorf("%d run and %d wait, want 1 and 2", running, waiting)
	}
	for _, want := range ids {
		if got := <-started; got != want {
			t.Errorf("%s started, want %s", got, want)
		}
		release <- struct{}{}
	}
}

// What does not end in time is left as it is for whoever goes on.
func TestStopLeavesWhatRuns(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	b := setup(t, onMain(protection.Protect, func(ctx context.Context, _ *protection.Call) error {
		close(started)
		<-ctx.Done()
		return context.Cause(ctx)
	}), nil)
	id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-started
	over, cancel := context.WithCancel(context.Background())
	cancel()
	b.engine.Stop(over)
	if status := b.checkpoint(t, id).Status(); status != checkpoint.Protecting {
		t.Errorf("status %s, want protecting", status)
	}
	if row := b.records.log(t, protection.Protect); row.ErrorInfo != "" || !row.EndedAt.IsZero() {
		t.Errorf("operation log %+v has ended", row)
	}
	left, err := b.engine.journal.List(t.Context(), journal.Filter{Unfinished: true})
	if err != nil || len(left) != 1 || left[0].State != journal.Running {
		t.Errorf("the journal has %+v, %v", left, err)
	}
}

func TestPanicOfAHook(t *testing.T) {
	t.Parallel()
	b := setup(t, onMain(protection.Protect, func(context.Context, *protection.Call) error { panic("bug") }), nil)
	cp := protected(t, b, volume)
	if cp.Status() != checkpoint.Error {
		t.Errorf("status %s, want error", cp.Status())
	}
}

// The operation goes on without its database, and the row is there in the end.
func TestDatabaseComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{}, nil)
	b.records.down = true
	id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the checkpoint, which needs no database", func() bool { return b.checkpoint(t, id).Status() == checkpoint.Available })
	b.records.mu.Lock()
	b.records.down = false
	b.records.mu.Unlock()
	b.finish()
	if row := b.records.log(t, protection.Protect); row.Status != "available" || row.EndedAt.IsZero() {
		t.Errorf("operation log %+v", row)
	}
}

// Neither does a restore wait for the database, nor is its end lost with it.
func TestDatabaseComesBackAfterARestore(t *testing.T) {
	t.Parallel()
	for _, hook := range []struct {
		status string
		err    error
	}{{"success", nil}, {"fail", errors.New("boom")}} {
		b := setup(t, onMain(protection.Restore, func(context.Context, *protection.Call) error { return hook.err }), nil,
			func(c *Config) { c.Limits.Total = 1 })
		cp := protected(t, b, volume)
		b.records.restores["r"] = database.Record{ID: "r"}
		b.records.mu.Lock()
		b.records.down = true
		b.records.mu.Unlock()
		if err := b.engine.Restore(b.ctx, Message{}, b.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
			t.Fatal(err)
		}
		// It holds the one place.
		await(t, "the restore, which needs no database", func() bool { return !b.busy() })
		b.records.mu.Lock()
		b.records.down = false
		b.records.mu.Unlock()
		b.finish()
		if r := b.records.restores["r"]; r.Status != hook.status {
			t.Errorf("restore %+v, want status %s", r, hook.status)
		}
		if row := b.records.log(t, protection.Restore); row.Status != hook.status || row.EndedAt.IsZero() {
			t.Errorf("operation log %+v", row)
		}
	}
}

// A project of many resources takes neither deep recursion nor quadratic time.
func TestManyResources(t *testing.T) {
	t.Parallel()
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	root := resource.Resource{Type: resource.Project, ID: project}
	cloud := children{}
	for i := range n {
		cloud[root.Key()] = append(cloud[root.Key()], resource.Resource{Type: resource.Server, ID: fmt.Sprintf("s%d", i)})
	}
	b := setup(t, hookPlugin{}, cloud)
	id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(root), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.finish()
	cp := b.checkpoint(t, id)
	if cp.Status() != checkpoint.Available {
		t.Errorf("status %s", cp.Status())
	}
	packed, _ := cp.ResourceGraph()
	graph, err := resource.Unpack(packed)
	if err != nil || graph.Len() != n+1 {
		t.Errorf("the graph has %d resources, want %d (%v)", graph.Len(), n+1, err)
	}
}
