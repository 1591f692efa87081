// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// Delete starts to remove a checkpoint's backups. The caller has checked that
// it may be deleted. If the flow cannot be made, the status is what it was, or of
// an operation whose owner is gone the one in which it has ended, and the error
// is a KarborException.
func (e *Engine) Delete(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if packed, ok := cp.ResourceGraph(); ok {
		if err := e.checkGraph(packed); err != nil {
			return err
		}
	}
	plan := cp.Plan()
	r, fresh, err := e.begin(ctx, journal.Entry{
		Kind: string(protection.Delete), Subject: cp.ID(), Exclusive: true, CheckpointID: cp.ID(),
		ProviderID: p.ID, PlanID: plan.ID, ProjectID: cp.ProjectID(),
	}, &input{Checkpoint: cp.ID(), Before: cp.Status().Ended(), Answer: answerOf(nil), held: graphSize(cp)}, p)
	switch {
	case r == nil && err != nil:
		return err
	case err != nil:
		const text = "Failed to create delete checkpoint flow."
		r.refuse(ctx, err, text)
		if Overtaken(err) {
			return fault.CheckpointNotBeDeleted(cp.ID()).WithCause(err)
		}
		return fault.KarborException(text).WithCause(err)
	case !fresh:
		_, _, err := e.Answered(ctx)
		return err
	}
	r.start()
	return nil
}

// deleting is a deletion.
type deleting struct{ change }

func newDeleting(r *run) *deleting {
	return &deleting{change{run: r, succeeded: checkpoint.Deleted, failed: checkpoint.ErrorDeleting}}
}

// open implements work.
func (o *deleting) open(ctx context.Context) error {
	cp, err := o.provider.Checkpoints.Get(ctx, o.input.Checkpoint)
	if err != nil {
		return err
	}
	o.cp, o.flow.checkpoint = cp, cp
	if cp.Status() != checkpoint.Deleted || !o.resumed { // else an earlier run has come to the end
		if err := setStatus(ctx, cp, checkpoint.Deleting); err != nil {
			return err
		}
	}
	o.openRecord(ctx)
	return nil
}

// build implements work: it links the hooks of what the checkpoint holds.
func (o *deleting) build(ctx context.Context) error {
	o.flow.graph = &resource.Graph{}
	if o.cp.Status() == checkpoint.Deleted {
		return o.flow.link()
	}
	// A protection that failed early has left no graph, and nothing to delete.
	if packed, ok := o.cp.ResourceGraph(); ok {
		if err := o.flow.unpack(packed); err != nil {
			return err
		}
	}
	if err := o.leaveOutUnserved(ctx); err != nil {
		return err
	}
	return o.flow.link()
}

// complete implements work.
func (o *deleting) complete(ctx context.Context) error { return o.succeed(ctx, o.cp.Delete) }

// fail implements work.
func (o *deleting) fail(ctx context.Context, opened bool, cause error) error {
	status := o.failed
	if !opened && !o.resumed {
		status = o.input.Before
	}
	return o.endWith(ctx, status, cause)
}

// leaveOutUnserved lets a checkpoint be deleted whose provider has no plugin for
// some of its types, provided that these left nothing in the bank: a protection
// that failed for want of a plugin must not stay for ever.
func (o *deleting) leaveOutUnserved(ctx context.Context) error {
	unserved := map[string]bool{}
	for _, node := range o.flow.graph.Nodes() {
		_, err := o.flow.provider.Plugin(node.Type)
		if err == nil {
			continue
		}
		section, sectionErr := o.cp.Section(node.ID)
		if sectionErr != nil {
			unserved[node.Type] = true // an id that cannot be a key has no objects
			continue
		}
		keys, listErr := section.List(ctx, bank.ListOptions{Limit: 1})
		if listErr != nil {
			return listErr
		}
		if len(keys) > 0 {
			return err
		}
		unserved[node.Type] = true
	}
	if len(unserved) > 0 {
		o.flow.provider = withoutHooks{Provider: o.flow.provider, types: unserved}
	}
	return nil
}

// withoutHooks is a provider that does nothing for some types.
type withoutHooks struct {
	Provider
	types map[string]bool
}

// Plugin implements Provider.
func (w withoutHooks) Plugin(resourceType string) (protection.Plugin, error) {
	if w.types[resourceType] {
		return nothing{}, nil
	}
	return w.Provider.Plugin(resourceType)
}

// nothing is a plugin whose operations have no hooks.
type nothing struct{}

func (nothing) Types() []string                   { return nil }
func (nothing) Schemas(string) protection.Schemas { return protection.Schemas{} }
func (nothing) Operation(protection.Kind, resource.Resource) (*protection.Operation, error) {
	return &protection.Operation{}, nil
}
