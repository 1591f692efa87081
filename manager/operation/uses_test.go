// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// A server completes after the network beside it, and is taken back before it.
func TestWhatIsUsedCompletesFirst(t *testing.T) {
	t.Parallel()
	server := resource.Resource{Type: resource.Server, ID: "s"}
	network := resource.Resource{Type: resource.Network, ID: "n"}
	var mu sync.Mutex
	var order []string
	does := func(what string) protection.Hook {
		return func(context.Context, *protection.Call) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
			return nil
		}
	}
	var cancel func()
	b := setup(t, hookPlugin{func(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
		switch {
		case kind != protection.Restore:
			return &protection.Operation{}, nil
		case r.Type == resource.Server:
			blocked := func(ctx context.Context, c *protection.Call) error {
				_ = does("server")(ctx, c)
				cancel()
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return &protection.Operation{Complete: blocked, Undo: does("no server"), Uses: []string{resource.Network, resource.Server}}, nil
		}
		return &protection.Operation{Main: does("network"), Complete: does("network is complete"), Undo: does("no network")}, nil
	}}, nil)
	cp := protected(t, b, server, network)
	if cp.Status() != checkpoint.Available {
		t.Fatalf("status %s", cp.Status())
	}
	b.records.restores["r"] = database.Record{ID: "r"}
	cancel = func() {
		entries, err := b.engine.journal.List(t.Context(), journal.Filter{Kind: string(protection.Restore)})
		if err == nil {
			err = b.engine.Cancel(t.Context(), entries[0].ID, "alice")
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := b.engine.Restore(b.ctx, Message{}, b.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if want := []string{"network", "network is complete", "server", "no server", "no network"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}
