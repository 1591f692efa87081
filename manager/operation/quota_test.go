// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/manager/queue"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// held is a plugin whose first hook waits until it is let go on; it counts the hooks.
type held struct {
	goOn chan struct{}
	mu   sync.Mutex
	runs map[string]int
}

func newHeld() *held { return &held{goOn: make(chan struct{}), runs: map[string]int{}} }

func (h *held) plugin() hookPlugin {
	return onMain(protection.Protect, func(_ context.Context, c *protection.Call) error {
		<-h.goOn
		h.mu.Lock()
		defer h.mu.Unlock()
		h.runs[c.Resource.ID]++
		return nil
	})
}

// What waiting operations are about leaves the memory when it is much, and comes back
// from the journal in its turn. Those that are cancelled meanwhile end.
func TestWaitingOperationsKeepLittleInMemory(t *testing.T) {
	t.Parallel()
	const size, count, room = 20000, 12, 100000
	h := newHeld()
	b := setup(t, h.plugin(), nil, func(c *Config) { c.Limits.PerProject = 1 })
	b.engine.queue = queue.New(b.engine.Limits, room)
	var ids []string
	for i := range count {
		id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(resource.Resource{Type: resource.Volume, ID: fmt.Sprint("v", i), Name: strings.Repeat("n", size/2)}), nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	entries, err := b.engine.journal.List(t.Context(), journal.Filter{Unfinished: true})
	if err != nil {
		t.Fatal(err)
	}
	kept, parked := 0, 0
	for id := range b.engine.queue.Positions() {
		switch r := b.engine.find(id); {
		case r.input != nil:
			kept += r.job.Size
		case r.work != nil || r.flow != nil:
			t.Errorf("operation %s keeps what it is about", id)
		default:
			parked++
		}
	}
	if kept > room || parked < count-1-room/size {
		t.Errorf("%d bytes are kept, %d operations forgot theirs", kept, parked)
	}
	for _, e := range entries {
		if e.CheckpointID == ids[count-1] {
			if err := b.engine.Cancel(t.Context(), e.ID, "alice"); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(h.goOn)
	b.finish()
	entries, err = b.engine.journal.List(t.Context(), journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		want := journal.Succeeded
		if e.CheckpointID == ids[count-1] {
			want = journal.Cancelled
		}
		if e.Outcome != want {
			t.Errorf("operation on %s: %s %q, want %s", e.CheckpointID, e.Outcome, e.Reason, want)
		}
	}
	for i := range count - 1 {
		if n := h.runs[fmt.Sprint("v", i)]; n != 1 {
			t.Errorf("hook %d ran %d times", i, n)
		}
	}
	if len(b.engine.held) != 0 {
		t.Errorf("left: %v", b.engine.held)
	}
}

// A project may have so many operations waiting, and so many bytes of them, and
// others are not affected.
func TestQuotasOfAProject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits func(*Config)
		asked  int // that are accepted
		reason string
	}{
		"waiting": {func(c *Config) { c.Limits.PerProject, c.MaxQueued = 1, 2 }, 3, "max_queued_operations_per_project"},
		"bytes":   {func(c *Config) { c.MaxBytes = 40000 }, 3, "max_operation_bytes_per_project"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHeld()
			b := setup(t, h.plugin(), nil, c.limits)
			ask := func(projectID string) error {
				plan := planOf(resource.Resource{Type: resource.Volume, ID: "v", Name: strings.Repeat("n", 6000)})
				plan.ProjectID = projectID
				_, err := b.engine.Protect(b.ctx, Message{}, b.provider, plan, nil)
				return err
			}
			for range c.asked {
				if err := ask(project); err != nil {
					t.Fatal(err)
				}
			}
			if err := ask(project); !fault.Is(err, "InvalidInput") || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("one too many: %v", err)
			}
			if err := ask("another"); err != nil {
				t.Errorf("another project's: %v", err)
			}
			close(h.goOn)
			b.finish()
			if err := ask(project); err != nil {
				t.Errorf("one that comes later: %v", err)
			}
			b.finish()
		})
	}
}
