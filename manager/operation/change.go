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

// change is an operation that ends in a status of a checkpoint: a protection, a deletion or a copy.
type change struct {
	*run
	cp     *checkpoint.Checkpoint // whose status changes
	record *progress.OperationLog

	succeeded, failed checkpoint.Status
}

// attach finds or creates the checkpoint. If hooks have worked on the checkpoint, it must exist,
// since a new one would lack their data. A refused operation creates none, but completes a
// checkpoint that is partly in the bank, so that users find it.
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

// creation describes the checkpoint that an operation creates, or returns nil if it creates none.
// The graph is known already, so that index.json is written once and not twice.
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

// openRecord creates the row in operation_logs.
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

// scheduledOperation finds the scheduled operation that requested a checkpoint, in its extra_info:
// a JSON text within a JSON string.
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

// completeWith completes a checkpoint with remarks on what will not be restored exactly.
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

// failWith writes a failed status to bank and tables. A checkpoint that was never created has none.
// The operation log is closed even if the bank is missing or refuses the status permanently.
func (o *change) failWith(ctx context.Context, status checkpoint.Status, out *outcome) error {
	if o.untouched && out.Refused != "" {
		return nil // as if the operation had not been requested
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

// build implements work. What was left out of the graph is recorded before any hook is.
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

// complete implements work. Remarks on the source apply to the copy.
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
	if o.cp.Status() != checkpoint.Deleted || !o.resumed { // otherwise an earlier run has finished the deletion
		if err := setStatus(ctx, o.cp, checkpoint.Deleting); err != nil {
			return err
		}
	}
	o.openRecord(ctx)
	return nil
}

// build implements work. It links the hooks for the resources of the checkpoint.
func (o *deleting) build(ctx context.Context) error {
	o.flow.Graph = &resource.Graph{}
	if o.cp.Status() == checkpoint.Deleted {
		return o.flow.Link()
	}
	// A protection that failed early has left no graph, and nothing to delete. A stored graph may
	// be deleted whatever its size.
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

// fail implements work. A deletion that was refused leaves the status as it was. So does one that
// was not opened, since only a checkpoint in deleting can become error-deleting.
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

// leaveOutUnserved allows the deletion of a checkpoint whose provider lacks a plugin for some of
// its types, provided that these types left nothing in the bank. Otherwise a protection that failed
// for lack of a plugin could never be deleted.
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

// copyFinished is the value in extra_info of a finished copy, so that it is not copied again.
// karbor: flows/copy.py
const copyFinished = "finished"

// Copyable reports whether Copy would copy a checkpoint: it must be available and no copy itself.
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

// work is the part of an operation that depends on its kind. Each method may be called again after
// a crash at any point.
type work interface {
	// open finds or creates the checkpoint and the rows that show the operation to users.
	open(ctx context.Context) error
	// build fills the flow of an open operation with its hooks and their order.
	build(ctx context.Context) error
	// begin records that the hooks start.
	begin(ctx context.Context) error
	// complete records, in bank and tables, that all hooks have finished.
	complete(ctx context.Context) error
	// fail records, in bank and tables, that the operation has failed, whether or not open was
	// called.
	fail(ctx context.Context, out *outcome) error
}

// newWork returns the work of an operation of r's kind.
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

// known reports whether kind is a kind of operation.
func known(kind protection.Kind) bool {
	switch kind {
	case protection.Protect, protection.Delete, protection.Copy, protection.Restore, protection.Verify:
		return true
	}
	return false
}

// unknown is the work of an operation of a kind that only a later version knows.
type unknown struct{ kind string }

func (u unknown) open(context.Context) error {
	return failure.Permanent(fmt.Errorf("this worker knows no operation %q", u.kind))
}

func (unknown) build(context.Context) error { return nil }

func (unknown) begin(context.Context) error { return nil }

func (unknown) complete(context.Context) error { return nil }

func (unknown) fail(context.Context, *outcome) error { return nil }
