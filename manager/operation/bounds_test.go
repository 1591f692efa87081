// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// largeGraph is a project with volumes, which is one more resource, and as many
// links as volumes.
func largeGraph(n int) (resource.Resource, children) {
	root := resource.Resource{Type: resource.Project, ID: project, Name: "p"}
	return root, children{root.Key(): volumes(n)}
}

// What is more than the bounds is refused, by its count, before it is on record: the
// resources of a plan, those that depend on them, and those of a checkpoint.
func TestBoundsOfAnOperation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	root, cloud := largeGraph(4)
	unbounded := s.process(t, hookPlugin{}, cloud)
	cp := protected(t, unbounded.bench, root)
	s.records.restores["r"] = database.Record{ID: "r"}
	for name, c := range map[string]struct {
		resources, links int
		message          string
	}{
		"resources": {4, 0, "5 resources are more than one operation may have: at most 4 (max_resources_per_operation)."},
		"links":     {0, 3, "4 links between resources are more than one operation may have: at most 3 (max_links_per_operation)."},
	} {
		p := s.process(t, hookPlugin{}, cloud, func(config *Config) { config.MaxResources, config.MaxLinks = c.resources, c.links })
		for kind, ask := range map[protection.Kind]func(context.Context) error{
			protection.Protect: func(ctx context.Context) error {
				_, err := p.engine.Protect(ctx, Message{}, p.provider, planOf(root), nil)
				return err
			},
			protection.Copy: func(ctx context.Context) error {
				_, err := p.engine.Copy(ctx, Message{}, p.provider, planOf(root), []*checkpoint.Checkpoint{cp})
				return err
			},
			protection.Restore: func(ctx context.Context) error {
				return p.engine.Restore(ctx, Message{}, p.provider, cp, Record{ID: "r", ProjectID: project})
			},
		} {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				s.records.restores["r"] = database.Record{ID: "r"}
				before := len(s.entries(t))
				requireFault(t, ask(p.bench.ctx), "InvalidInput", "Invalid input received: "+c.message)
				if after := len(s.entries(t)); after != before {
					t.Errorf("%d operations are on record, there were %d", after, before)
				}
				if status := p.checkpoint(t, cp.ID()).Status(); status != checkpoint.Available {
					t.Errorf("the checkpoint is %s", status)
				}
				if row := s.records.restores["r"]; kind == protection.Restore && row.Status != progress.RecordFail {
					t.Errorf("the record is %q", row.Status)
				}
			})
		}
	}
}

// A checkpoint that is there can be verified and deleted, however small the bounds have
// become.
func TestLargeCheckpointIsVerifiedAndDeleted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	root, cloud := largeGraph(4)
	cp := protected(t, s.process(t, hookPlugin{}, cloud).bench, root)
	p := s.process(t, hookPlugin{}, cloud, func(c *Config) { c.MaxResources, c.MaxLinks = 4, 3 })
	s.records.restores["r"] = database.Record{ID: "r"}
	if err := p.engine.Verify(p.bench.ctx, Message{}, p.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
		t.Fatal(err)
	}
	p.finish()
	if row := s.records.restores["r"]; row.Status != progress.RecordSuccess {
		t.Errorf("the verification is %q", row.Status)
	}
	if err := p.engine.Delete(p.bench.ctx, Message{}, p.provider, cp); err != nil {
		t.Fatal(err)
	}
	p.finish()
	if status := p.checkpoint(t, cp.ID()).Status(); status != checkpoint.Deleted {
		t.Errorf("the checkpoint is %s", status)
	}
}

// The count of a plan's own resources is enough: nobody looks for what depends on
// them.
func TestLargePlanIsRefusedByItsCount(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{}, nil, func(c *Config) { c.MaxResources, c.Protectables = 10, nil })
	_, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volumes(11)...), nil)
	if err == nil || !strings.Contains(err.Error(), "11 resources are more than") {
		t.Errorf("Protect: %v", err)
	}
	_, err = b.engine.Copy(b.ctx, Message{}, b.provider, planOf(volumes(11)...), nil)
	if err == nil || !strings.Contains(err.Error(), "11 resources are more than") {
		t.Errorf("Copy: %v", err)
	}
}

// An operation that is on record, and larger than the worker allows that goes on with
// it, fails with that reason: it is not built.
func TestLargeOperationOnRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		root, cloud := largeGraph(4)
		first := s.process(t, hookPlugin{}, cloud)
		cp := protected(t, first.bench, root)
		s.records.restores["r"] = database.Record{ID: "r"}
		var p *process
		p = s.process(t, onMain(protection.Restore, func(ctx context.Context, c *protection.Call) error { return p.dies(ctx, c) }), cloud)
		if err := p.engine.Restore(p.bench.ctx, Message{}, p.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
			t.Fatal(err)
		}
		p.engine.alive.Wait()
		built := false
		last := s.process(t, hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
			built = true
			return nil, nil
		}}, cloud, func(c *Config) { c.MaxResources = 4 })
		last.adopt(t, s.journal)
		entries, err := s.journal.List(t.Context(), journal.Filter{Kind: string(protection.Restore)})
		if err != nil || len(entries) != 1 || entries[0].Outcome != journal.Failed || !strings.Contains(entries[0].Reason, "5 resources are more than") || built {
			t.Errorf("%+v, %v, built %t", entries, err, built)
		}
		if row := s.records.restores["r"]; row.Status != progress.RecordFail {
			t.Errorf("the restore is %q", row.Status)
		}
	})
}

func (s *site) entries(t *testing.T) []journal.Entry {
	t.Helper()
	entries, err := s.journal.List(t.Context(), journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}
