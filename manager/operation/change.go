// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/manager/flow"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// change is an operation that ends in a status of a checkpoint: a protection, a
// deletion or a copy.
type change struct {
	*run
	cp     *checkpoint.Checkpoint // whose status changes
	record *progress.OperationLog

	succeeded, failed checkpoint.Status
}

// attach finds the checkpoint, or makes it. When hooks have been at work on it, it must
// be there: a new one would lack what they made. An operation that was refused makes
// none, but what has reached the bank of one becomes whole, for users to find.
func (o *change) attach(ctx context.Context) (err error) {
	id, made := o.input.Checkpoint, creation(protection.Kind(o.entry.Kind), o.input)
	switch {
	case made == nil || o.underway:
		o.cp, err = o.provider.Checkpoints.Get(ctx, id)
	case o.outcome != nil && o.outcome.Refused != "":
		o.cp, err = o.provider.Checkpoints.Resume(ctx, id)
	default:
		made.Resumed = o.resumed
		o.cp, err = o.provider.Checkpoints.Create(ctx, *made)
	}
	if err != nil {
		o.cp = nil
		return fmt.Errorf("opening checkpoint %s: %w", id, err)
	}
	if o.input.Digests {
		o.cp.RecordObjects(o.tracker.Objects(), o.tracker.SaveObject)
	}
	return nil
}

// creation describes the checkpoint that an operation makes, nil if it makes none. Its graph
// is known, so that it is written once and not twice.
func creation(kind protection.Kind, in *input) *checkpoint.CreateOptions {
	if in.Plan == nil {
		return nil
	}
	o := &checkpoint.CreateOptions{ID: in.Checkpoint, Plan: in.Plan.stored(), ResourceGraph: in.Graph, ExtraInfo: in.ExtraInfo}
	if kind == protection.Copy {
		o.Status, o.ExtraInfo = checkpoint.WaitCopying, json.RawMessage("{}")
	}
	return o
}

// openRecord makes the row in operation_logs.
func (o *change) openRecord(ctx context.Context) {
	if o.record != nil {
		return
	}
	row := database.OperationLog{
		ID: o.entry.ID, StartedAt: o.entry.CreatedAt, ProjectID: o.entry.ProjectID, OperationType: o.entry.Kind,
		CheckpointID: o.entry.CheckpointID, PlanID: o.entry.PlanID, ProviderID: o.entry.ProviderID,
	}
	if o.cp != nil {
		plan := o.cp.Plan()
		row.ProjectID, row.PlanID, row.ProviderID = o.cp.ProjectID(), plan.ID, plan.ProviderID
		row.ScheduledOperationID, row.Status = scheduledOperation(o.cp.ExtraInfo()), string(o.cp.Status())
	}
	o.record = progress.OpenLog(ctx, o.engine.Records, o.log, row)
}

// scheduledOperation finds the scheduled operation that asked for a checkpoint
// in its extra_info: a JSON text within a JSON string.
// karbor: flows/utils.py create_operation_log
func scheduledOperation(extraInfo json.RawMessage) string {
	var text string
	if json.Unmarshal(extraInfo, &text) != nil {
		return ""
	}
	var info struct {
		CreatedBy            string `json:"created_by"`
		ScheduledOperationID string `json:"scheduled_operation_id"`
	}
	if json.Unmarshal([]byte(text), &info) != nil || info.CreatedBy != "operation-engine" {
		return ""
	}
	return info.ScheduledOperationID
}

// begin implements work.
func (o *change) begin(context.Context) error { return nil }

// complete implements work.
func (o *change) complete(ctx context.Context) error {
	return o.completeWith(ctx, o.tracker.Remarked())
}

// completeWith completes a checkpoint that is told to be not as it was in some ways.
func (o *change) completeWith(ctx context.Context, remarks remark.Document) error {
	if err := o.cp.PutRemarks(ctx, remarks); err != nil {
		return err
	}
	o.cp.Seal()
	if err := setStatus(ctx, o.cp, o.succeeded); err != nil {
		return err
	}
	return o.endLog(ctx, o.record, string(o.succeeded), "")
}

// fail implements work.
func (o *change) fail(ctx context.Context, out *outcome) error { return o.failWith(ctx, o.failed, out) }

// failWith writes a status of failure everywhere. A checkpoint that was never made has
// none. What the bank refuses for good keeps the operation log from its end no more
// than a bank that is missing.
func (o *change) failWith(ctx context.Context, status checkpoint.Status, out *outcome) error {
	if o.untouched && out.Refused != "" {
		return nil // as if it had not been asked for
	}
	var err error
	if o.cp == nil && o.provider != nil {
		err = o.attach(ctx)
		if out.Refused != "" && fault.Is(err, "CheckpointNotFound") {
			return nil
		}
	}
	if o.cp != nil {
		err = setStatus(ctx, o.cp, status)
	}
	if err != nil && (!failure.Final(err) || failure.HandedOver(err)) {
		return err
	}
	o.openRecord(ctx)
	return cmp.Or(o.endLog(ctx, o.record, string(status), out.Reason), err)
}

func setStatus(ctx context.Context, cp *checkpoint.Checkpoint, status checkpoint.Status) error {
	if err := cp.SetStatus(status); err != nil {
		return err
	}
	if err := cp.Commit(ctx); err != nil {
		return fmt.Errorf("writing status %s of checkpoint %s: %w", status, cp.ID(), err)
	}
	return nil
}

// protecting is a protection.
type protecting struct{ change }

func newProtecting(r *run) *protecting {
	return &protecting{change{run: r, succeeded: checkpoint.Available, failed: checkpoint.Error}}
}

// open implements work.
func (o *protecting) open(ctx context.Context) error {
	if err := o.attach(ctx); err != nil {
		return err
	}
	if o.input.Refusal != "" {
		return failure.Permanent(errors.New(o.input.Refusal))
	}
	o.openRecord(ctx)
	o.flow.Checkpoint, o.flow.Parameters = o.cp, o.input.Plan.Parameters.of
	return nil
}

// build implements work. What was left out of the graph is on record before any hook is.
func (o *protecting) build(context.Context) error {
	for _, one := range o.input.Remarks {
		o.tracker.Remarks().Add(one)
	}
	return o.link(o.input.Graph)
}

// copying is one copy.
type copying struct{ change }

func newCopying(r *run) *copying {
	return &copying{change{run: r, succeeded: checkpoint.Available, failed: checkpoint.Error}}
}

// open implements work.
func (o *copying) open(ctx context.Context) error {
	source, err := o.provider.Checkpoints.Get(ctx, o.input.Source)
	if err == nil {
		err = source.CheckSeal()
	}
	if err != nil {
		return err
	}
	if err := o.attach(ctx); err != nil {
		return err
	}
	o.openRecord(ctx)
	o.flow.Log = o.log.WithField("source", source.ID())
	o.flow.Checkpoint, o.flow.Copied, o.flow.Parameters = source, o.cp, o.input.Plan.Parameters.of
	return nil
}

// build implements work.
func (o *copying) build(context.Context) error { return o.link(o.input.Graph) }

// begin implements work.
func (o *copying) begin(ctx context.Context) error {
	if err := setStatus(ctx, o.cp, checkpoint.Copying); err != nil {
		return err
	}
	o.record.Set(ctx, string(checkpoint.Copying))
	return nil
}

// complete implements work. What was remarked of the source goes for the copy.
func (o *copying) complete(ctx context.Context) error {
	remarks, err := o.flow.Checkpoint.Remarks(ctx)
	if errors.Is(err, checkpoint.ErrRemarks) {
		return failure.Permanent(err)
	}
	if err != nil {
		return err
	}
	o.cp.SetExtraInfo(json.RawMessage(`"{\"copy_status\": \"` + copyFinished + `\"}"`))
	return o.completeWith(ctx, remark.Merge(remarks, o.tracker.Remarked()))
}

// deleting is a deletion.
type deleting struct{ change }

func newDeleting(r *run) *deleting {
	return &deleting{change{run: r, succeeded: checkpoint.Deleted, failed: checkpoint.ErrorDeleting}}
}

// open implements work.
func (o *deleting) open(ctx context.Context) error {
	if err := o.attach(ctx); err != nil {
		return err
	}
	o.flow.Checkpoint = o.cp
	if o.cp.Status() != checkpoint.Deleted || !o.resumed { // else an earlier run has come to the end
		if err := setStatus(ctx, o.cp, checkpoint.Deleting); err != nil {
			return err
		}
	}
	o.openRecord(ctx)
	return nil
}

// build implements work: it links the hooks of what the checkpoint holds.
func (o *deleting) build(ctx context.Context) error {
	o.flow.Graph = &resource.Graph{}
	if o.cp.Status() == checkpoint.Deleted {
		return o.flow.Link()
	}
	// A protection that failed early has left no graph, and nothing to delete. What is
	// stored may be deleted whatever its size.
	if packed, ok := o.cp.ResourceGraph(); ok {
		graph, err := unpack(packed)
		if err != nil {
			return err
		}
		o.flow.Graph = graph
	}
	if err := o.leaveOutUnserved(ctx); err != nil {
		return err
	}
	return o.flow.Link()
}

// complete implements work.
func (o *deleting) complete(ctx context.Context) error {
	if err := o.cp.Delete(ctx); err != nil {
		return err
	}
	return o.endLog(ctx, o.record, string(o.succeeded), "")
}

// fail implements work. A deletion that was refused leaves the status as it was. One
// that was not opened is, for only what is being deleted can become error-deleting.
func (o *deleting) fail(ctx context.Context, out *outcome) error {
	if out.Refused != "" {
		return o.failWith(ctx, o.input.Before, out)
	}
	if o.provider != nil {
		if err := o.run.open(ctx); err != nil && (!failure.Final(err) || failure.HandedOver(err)) {
			return err
		}
	}
	return o.failWith(ctx, o.failed, out)
}

// leaveOutUnserved lets a checkpoint be deleted whose provider has no plugin for
// some of its types, provided that these left nothing in the bank: a protection
// that failed for want of a plugin must not stay for ever.
func (o *deleting) leaveOutUnserved(ctx context.Context) error {
	unserved := map[string]bool{}
	for _, node := range o.flow.Graph.Nodes() {
		_, err := o.flow.Provider.Plugin(node.Type)
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
		o.flow.Provider = withoutHooks{Provider: o.flow.Provider, types: unserved}
	}
	return nil
}

// withoutHooks is a provider that does nothing for some types.
type withoutHooks struct {
	flow.Provider
	types map[string]bool
}

// Plugin implements flow.Provider.
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

// Copyable reports whether a checkpoint is one that Copy would copy: available,
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
	// complete says everywhere that they have all finished.
	complete(ctx context.Context) error
	// fail says everywhere that they have not, whether or not open has been called.
	fail(ctx context.Context, out *outcome) error
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

// known reports whether there is an operation of a kind.
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
	return failure.Permanent(fmt.Errorf("this worker knows no operation %q", u.kind))
}

func (unknown) build(context.Context) error { return nil }

func (unknown) begin(context.Context) error { return nil }

func (unknown) complete(context.Context) error { return nil }

func (unknown) fail(context.Context, *outcome) error { return nil }
