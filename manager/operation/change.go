// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// change is an operation that ends in a status of a checkpoint: a protection, a
// deletion or a copy.
type change struct {
	*run
	cp     *checkpoint.Checkpoint // whose status changes
	record *operationLog

	succeeded, failed checkpoint.Status
}

// openRecord makes the row in operation_logs.
func (o *change) openRecord(ctx context.Context) {
	if o.record == nil {
		o.record = o.engine.openLog(ctx, o.run, o.row())
	}
}

// create makes the checkpoint, or finds it. When hooks have been at work on it it
// must be there: a new one would lack what they made.
func (o *change) create(ctx context.Context, c checkpoint.CreateOptions) (err error) {
	c.ID, c.Plan, c.ResourceGraph, c.Resumed = o.input.Checkpoint, o.input.Plan.stored(), o.input.Graph, o.resumed
	if o.underway {
		o.cp, err = o.provider.Checkpoints.Get(ctx, c.ID)
	} else {
		o.cp, err = o.provider.Checkpoints.Create(ctx, c)
	}
	if err == nil && o.input.Digests {
		o.cp.RecordObjects(o.track.objects(), o.keepDigest)
	}
	return err
}

// keepDigest records the digest of an object before the write of a hook returns, so that
// whoever completes the checkpoint signs it.
func (o *change) keepDigest(ctx context.Context, name, sum string) error {
	d := digest{name, sum}
	mark, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := o.scribe.save(ctx, markName(digestMarks, name), mark); err != nil {
		return o.given(err)
	}
	o.track.recallDigest(d)
	return nil
}

// begin implements work.
func (o *change) begin(context.Context) error { return nil }

// fail implements work.
func (o *change) fail(ctx context.Context, _ bool, cause error) error {
	return o.endWith(ctx, o.failed, cause)
}

// succeed writes the status of success, by finish, everywhere.
func (o *change) succeed(ctx context.Context, finish func(context.Context) error) error {
	o.cp.Seal()
	if err := finish(ctx); err != nil {
		return err
	}
	return o.endLog(ctx, o.record, string(o.succeeded), nil)
}

// endWith writes a status of failure everywhere. A checkpoint that was never made
// has none.
func (o *change) endWith(ctx context.Context, status checkpoint.Status, cause error) error {
	if o.cp == nil && !o.resumed {
		return nil
	}
	var err error
	if o.cp != nil {
		if err = setStatus(ctx, o.cp, status); err != nil && !Overtaken(err) {
			return err
		}
	}
	o.openRecord(ctx)
	if err := o.endLog(ctx, o.record, string(status), cause); err != nil {
		return err
	}
	return err
}

func setStatus(ctx context.Context, cp *checkpoint.Checkpoint, status checkpoint.Status) error {
	if err := cp.SetStatus(status); err != nil {
		return err
	}
	if err := cp.Commit(ctx); err != nil {
		return fmt.Errorf("write status %s of checkpoint %s: %w", status, cp.ID(), err)
	}
	return nil
}

// protecting is a protection.
type protecting struct{ change }

func newProtecting(r *run) *protecting {
	return &protecting{change{run: r, succeeded: checkpoint.Available, failed: checkpoint.Error}}
}

// open implements work: it makes the checkpoint. Made when its graph is known,
// it is written once and not twice.
func (o *protecting) open(ctx context.Context) error {
	if err := o.create(ctx, checkpoint.CreateOptions{ExtraInfo: o.input.ExtraInfo}); err != nil {
		return fmt.Errorf("create the checkpoint: %w", err)
	}
	if o.input.Refusal != "" {
		return permanent(errors.New(o.input.Refusal))
	}
	o.openRecord(ctx)
	o.flow.checkpoint, o.flow.parameters = o.cp, o.input.Plan.Parameters
	return nil
}

// build implements work.
func (o *protecting) build(context.Context) error { return o.flow.prepare(o.input.Graph) }

// complete implements work.
func (o *protecting) complete(ctx context.Context) error {
	return o.succeed(ctx, func(ctx context.Context) error { return setStatus(ctx, o.cp, o.succeeded) })
}

// copying is one copy.
type copying struct{ change }

func newCopying(r *run) *copying {
	return &copying{change{run: r, succeeded: checkpoint.Available, failed: checkpoint.Error}}
}

// open implements work: it makes the copy.
func (o *copying) open(ctx context.Context) error {
	source, err := o.provider.Checkpoints.Get(ctx, o.input.Source)
	if err == nil {
		err = source.CheckSeal()
	}
	if err != nil {
		return err
	}
	if err := o.create(ctx, checkpoint.CreateOptions{Status: checkpoint.WaitCopying, ExtraInfo: json.RawMessage("{}")}); err != nil {
		return fmt.Errorf("create the copy of checkpoint %s: %w", source.ID(), err)
	}
	o.openRecord(ctx)
	o.log = o.log.WithField("source", source.ID())
	o.flow.log = o.log
	o.flow.checkpoint, o.flow.copied, o.flow.parameters = source, o.cp, o.input.Plan.Parameters
	return nil
}

// build implements work.
func (o *copying) build(context.Context) error { return o.flow.prepare(o.input.Graph) }

// begin implements work.
func (o *copying) begin(ctx context.Context) error {
	if err := setStatus(ctx, o.cp, checkpoint.Copying); err != nil {
		return err
	}
	o.record.set(ctx, string(checkpoint.Copying))
	return nil
}

// complete implements work.
func (o *copying) complete(ctx context.Context) error {
	return o.succeed(ctx, func(ctx context.Context) error {
		o.cp.SetExtraInfo(json.RawMessage(`"{\"copy_status\": \"` + copyFinished + `\"}"`))
		return setStatus(ctx, o.cp, o.succeeded)
	})
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

func (nothing) Types() []string { return nil }

func (nothing) Schemas(string) protection.Schemas { return protection.Schemas{} }

func (nothing) Operation(protection.Kind, resource.Resource) (*protection.Operation, error) {
	return &protection.Operation{}, nil
}

// copyFinished is what a finished copy carries in extra_info, so that it is not
// copied in its turn. karbor: flows/copy.py
const copyFinished = "finished"

// Copyable tells whether a checkpoint is one that Copy would copy: available,
// and no copy itself.
func Copyable(cp *checkpoint.Checkpoint) bool {
	if cp.Status() != checkpoint.Available {
		return false
	}
	info := cp.ExtraInfo()
	var text string
	if json.Unmarshal(info, &text) == nil {
		info = json.RawMessage(text)
	}
	var fields struct {
		CopyStatus string `json:"copy_status"`
	}
	return json.Unmarshal(info, &fields) != nil || fields.CopyStatus != copyFinished
}

// work is what differs between the kinds of operations. Each method may be
// called again after a crash that came at any point of it.
type work interface {
	// open finds or makes the checkpoint and the rows that tell of the operation.
	open(ctx context.Context) error
	// build fills the flow of an operation that is open: its hooks and their order.
	build(ctx context.Context) error
	// begin says that the hooks start.
	begin(ctx context.Context) error
	// complete says that they have all finished.
	complete(ctx context.Context) error
	// fail says that they have not. opened is false when open failed.
	fail(ctx context.Context, opened bool, cause error) error
}

// newWork makes the part that differs.
func newWork(r *run) work {
	switch protection.Kind(r.entry.Kind) {
	case protection.Protect:
		return newProtecting(r)
	case protection.Delete:
		return newDeleting(r)
	case protection.Copy:
		return newCopying(r)
	case protection.Restore, protection.Verify:
		return newReading(r)
	}
	return unknown{r.entry.Kind}
}

// known tells whether there is an operation of a kind.
func known(kind protection.Kind) bool {
	switch kind {
	case protection.Protect, protection.Delete, protection.Copy, protection.Restore, protection.Verify:
		return true
	}
	return false
}

// unknown is an operation of a kind that only a later version knows.
type unknown struct{ kind string }

func (u unknown) open(context.Context) error {
	return permanent(fmt.Errorf("this worker knows no operation %q", u.kind))
}

func (unknown) build(context.Context) error { return nil }

func (unknown) begin(context.Context) error { return nil }

func (unknown) complete(context.Context) error { return nil }

func (unknown) fail(context.Context, bool, error) error { return nil }

// row is the row of an operation that changes a checkpoint.
func (o *change) row() database.OperationLog {
	row := database.OperationLog{
		ProjectID: o.entry.ProjectID, OperationType: o.entry.Kind, CheckpointID: o.entry.CheckpointID,
		PlanID: o.entry.PlanID, ProviderID: o.entry.ProviderID,
	}
	if o.cp != nil {
		plan := o.cp.Plan()
		row.ProjectID, row.PlanID, row.ProviderID = o.cp.ProjectID(), plan.ID, plan.ProviderID
		row.ScheduledOperationID, row.Status = scheduledOperation(o.cp.ExtraInfo()), string(o.cp.Status())
	}
	return row
}
