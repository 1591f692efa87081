// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/rpc"
)

// cast sends a request that nobody answers.
func (a *api) cast(method string, args map[string]any) {
	a.t.Helper()
	members := rpc.Context{}
	for name, value := range a.caller.Encode(time.Now()) {
		text, err := json.Marshal(value)
		must(a.t, err)
		members[name] = text
	}
	must(a.t, a.client.Cast(context.Background(), members, method, args))
}

// TestHostileRestore restores a checkpoint of a thousand servers and a hundred thousand
// networks on three workers: pair by pair that would be ten to the power of eight links.
// As they are by default they refuse it with its reason; with room for its resources it
// ends. All live.
func TestHostileRestore(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL")
	s := newSite(t)
	db := s.useMariaDB()
	s.sync()
	a := s.api(stranger())
	folder := t.TempDir()
	p := s.fsProvider(folder, noop)
	id := s.plantCheckpoint(folder, p.id, a.caller.ProjectID, 1000, 100_000)
	restore := func(want, reason string) {
		t.Helper()
		pl := plan{id: uuid.NewString(), provider: p.id}
		record := db.addRecord("restores", a.caller.ProjectID, pl, id)
		err := a.try("restore", map[string]any{"restore": a.readArgs("Restore", record, pl, id, map[string]any{}), "restore_auth": nil}, nil)
		if reason != "" && (err == nil || !strings.Contains(err.Error(), reason)) || reason == "" && err != nil {
			t.Errorf("answered %v, want %q", err, reason)
		}
		if got := db.finished("restores", record); got.Status != want {
			t.Errorf("the restore is %s, want %s", got.Status, want)
		}
	}
	workers := []*worker{s.started("one"), s.started("two"), s.started("three")}
	for range workers {
		restore("fail", "101000 resources are more than one operation may have")
	}
	alive := func() {
		t.Helper()
		for _, w := range workers {
			if !w.running() {
				t.Errorf("worker %s has ended:\n%s", w.host, w.logText())
			}
			t.Logf("worker %s: %.0f MiB at most", w.host, w.memory("VmHWM"))
		}
	}
	alive()
	for _, w := range workers {
		w.stop()
	}
	s.conf.set("DEFAULT", "max_resources_per_operation", "200000")
	workers = []*worker{s.started("one"), s.started("two"), s.started("three")}
	restore("success", "")
	alive()
	for _, w := range workers {
		w.stop()
	}
}

// plantCheckpoint puts an available checkpoint of servers and networks into a bank.
func (s *site) plantCheckpoint(folder, provider, project string, servers, networks int) string {
	s.t.Helper()
	graph := &resource.Graph{}
	add := func(kind string, n int) {
		for range n {
			graph.Roots = append(graph.Roots, &resource.Node{Resource: resource.Resource{Type: kind, ID: uuid.NewString(), Name: "made up"}})
		}
	}
	add(resource.Server, servers)
	add(resource.Network, networks)
	packed, err := resource.Pack(graph)
	must(s.t, err)
	store, err := filesystem.New(filesystem.Config{Path: folder, Container: "karbor"}, nil)
	must(s.t, err)
	made, err := checkpoint.NewCollection(bank.New(store, nil), provider, checkpoint.Options{}).Create(s.t.Context(), checkpoint.CreateOptions{
		Status: checkpoint.Available, ResourceGraph: packed,
		Plan: checkpoint.Plan{ID: uuid.NewString(), Name: "hostile", ProviderID: provider, ProjectID: project},
	})
	must(s.t, err)
	must(s.t, store.Close())
	return made.ID()
}

// TestHostileProject names another project in plans and records, on three workers.
func TestHostileProject(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL")
	s := newSite(t)
	db := s.useMariaDB()
	s.sync()
	b := s.api(stranger())
	a := b.as(stranger())
	p := s.fsProvider(t.TempDir(), noop)
	workers := []*worker{s.started("one"), s.started("two"), s.started("three")}
	theirs := b.plan(p.id, something())
	kept := b.protected(theirs)

	mine := a.plan(p.id, something())
	ours := a.protected(mine)
	forged := b.protectArgs(theirs) // b's plan, of b's project, from a
	a.refused("InvalidInput", "protect", forged)
	a.refused("InvalidInput", "execute_operation", map[string]any{"action": "protect", "backup_plan": map[string]any{
		"id": theirs.id, "name": "x", "provider_id": p.id, "project_id": b.caller.ProjectID,
		"resources": []map[string]any{{"id": uuid.NewString(), "type": resource.Image, "name": "loot"}}}})
	a.refused("InvalidInput", "copy", map[string]any{"plan": forged["plan"]})
	for class, method := range map[string]string{"Restore": "restore", "Verification": "verification"} {
		table := strings.ToLower(class) + "s"
		record := db.addRecord(table, b.caller.ProjectID, theirs, kept)
		args := map[string]any{method: a.readArgs(class, record, mine, ours, map[string]any{})}
		a.refused("InvalidInput", method, args)
		if n := db.count("SELECT COUNT(*) FROM " + table + " WHERE id = '" + record + "' AND resources_status IS NULL"); n != 1 {
			t.Errorf("the record of the other project in %s was written to", table)
		}
	}
	var list []checkpointView
	b.call("list_checkpoints", map[string]any{"provider_id": p.id}, &list)
	if len(list) != 1 || list[0].ID != kept {
		t.Errorf("the other project has %+v, want %s alone", list, kept)
	}
	for _, w := range workers {
		if !w.running() {
			t.Errorf("worker %s has ended", w.host)
		}
		w.stop()
	}
}

// TestHostileLoad lets one project cast far more than there are handlers, each cast
// about two thousand images that are nowhere, while another one asks for something
// small. The other one is answered each time, and how long that took is logged.
func TestHostileLoad(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_GLANCE")
	s := newSite(t)
	s.useCloud()
	a := s.api(demo(t).caller)
	b := a.as(stranger())
	p := s.fsProvider(t.TempDir(), noop)
	w := s.started("one")
	resources := make([]resource.Resource, 2000)
	for i := range resources {
		resources[i] = resource.Resource{Type: resource.Server, ID: uuid.NewString(), Name: fmt.Sprint(i)}
	}
	attack := a.protectArgs(a.plan(p.id, resources...))
	for range 70 {
		a.cast("protect", attack)
	}
	var mu sync.Mutex
	var took []time.Duration
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 50 {
				start := time.Now()
				if err := b.try("list_providers", map[string]any{}, nil); err != nil {
					t.Errorf("another project: %v", err)
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	slices.Sort(took)
	t.Logf("list_providers of another project, %d calls: median %s, 99th percentile %s, longest %s; the worker had %.0f MiB at most",
		len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1], w.memory("VmHWM"))
	w.kill() // what is left of the attack is of no interest
}
