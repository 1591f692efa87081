// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// A restore of a thousand servers on a hundred thousand networks, which has ten to the
// power of eight links pair by pair, is on record by an older worker. Three workers as
// they are by default take it over one after the other: all live, and the operation has
// failed with its reason. A worker without a bound comes to its end.
func TestRestoreOfServersOnManyNetworks(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	graph := &resource.Graph{}
	for i := range 1000 {
		graph.Roots = append(graph.Roots, &resource.Node{Resource: resource.Resource{Type: resource.Server, ID: fmt.Sprint("s", i)}})
	}
	for i := range 100000 {
		graph.Roots = append(graph.Roots, &resource.Node{Resource: resource.Resource{Type: resource.Network, ID: fmt.Sprint("n", i)}})
	}
	packed, err := resource.Pack(graph)
	if err != nil {
		t.Fatal(err)
	}
	uses := hookPlugin{func(_ protection.Kind, r resource.Resource) (*protection.Operation, error) {
		if r.Type == resource.Server {
			return &protection.Operation{Uses: []string{resource.Network}}, nil
		}
		return nil, nil
	}}
	cfg, err := config.Load(config.Source{}, Options)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	record := func(name string) {
		cp, err := s.provider.Checkpoints.Create(s.ctx, checkpoint.CreateOptions{
			ID: name, Status: checkpoint.Available, ResourceGraph: packed, Plan: planOf().stored()})
		if err != nil {
			t.Fatal(err)
		}
		s.records.restores[name] = database.Record{ID: name}
		dead := s.process(t, uses, nil)
		dead.kill()
		in := &input{Version: inputVersion, Checkpoint: cp.ID(), Record: &Record{ID: name, ProjectID: project}, Caller: "{}"}
		if _, _, err := s.journal.Begin(t.Context(), journal.Entry{ID: newID(), Kind: string(protection.Restore), Subject: cp.ID(), CheckpointID: cp.ID(),
			RecordID: name, ProviderID: "provider", ProjectID: project, Input: answerOf(in), Claim: journal.Claim{Owner: dead.id}}); err != nil {
			t.Fatal(err)
		}
	}
	record("bounded")
	for range 3 {
		p := s.process(t, uses, nil, func(c *Config) { c.Configure(cfg) })
		p.adopt(t, s.journal)
		if err := p.ctx.Err(); err != nil {
			t.Errorf("a worker: %v", err)
		}
	}
	const reason = "101000 resources are more than one operation may have: at most 20000"
	if entry := s.entryOf(t, "bounded"); entry.Outcome != journal.Failed || !strings.Contains(entry.Reason, reason) {
		t.Errorf("%s %q, want %q", entry.Outcome, entry.Reason, reason)
	}
	if row := s.records.restores["bounded"]; row.Status != progress.RecordFail {
		t.Errorf("the restore is %q", row.Status)
	}
	record("unbounded")
	p := s.process(t, uses, nil)
	p.adopt(t, s.journal)
	if entry := s.entryOf(t, "unbounded"); entry.Outcome != journal.Succeeded {
		t.Errorf("%s %q", entry.Outcome, entry.Reason)
	}
}
