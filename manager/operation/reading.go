// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"

	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// reading is an operation that reads a checkpoint and reports to a record: a restore or a
// verification.
type reading struct {
	*run
	kind   database.RecordKind
	row    *progress.RecordWriter
	record *progress.OperationLog
}

func newReading(r *run) *reading {
	kind := recordKind(r.flow.Kind)
	return &reading{run: r, kind: kind,
		row: progress.NewRecordWriter(r.ctx, r.engine.Records, kind, r.input.Record.ID, r.marks, r.engine.retry, r.log, &r.engine.alive)}
}

// recordKind returns the kind of record for a kind of operation.
func recordKind(kind protection.Kind) database.RecordKind {
	if kind == protection.Verify {
		return database.Verifications
	}
	return database.Restores
}

// open implements work.
func (o *reading) open(ctx context.Context) error {
	if err := o.makeRecord(ctx); err != nil {
		return err
	}
	o.openRecord(ctx)
	cp, err := o.provider.Checkpoints.Get(ctx, o.input.Checkpoint)
	if err == nil {
		err = cp.CheckSeal()
	}
	if err != nil {
		return err
	}
	o.flow.Checkpoint, o.flow.Parameters, o.flow.Status = cp, o.input.Record.Parameters.of, o.row
	if o.flow.Kind == protection.Restore {
		o.flow.NewResources = o.tracker.Restored()
	}
	return nil
}

// makeRecord creates the record, if the caller has not.
func (o *reading) makeRecord(ctx context.Context) error {
	row := o.input.Record.New
	if row == nil {
		return nil
	}
	_, err := o.engine.Records.Create(ctx, o.kind, row)
	return err
}

var errNoGraph = errors.New("the checkpoint has no resource graph")

// build implements work.
func (o *reading) build(context.Context) error {
	packed, ok := o.flow.Checkpoint.ResourceGraph()
	if !ok {
		return failure.Permanent(errNoGraph)
	}
	if o.flow.Kind == protection.Restore {
		return o.link(packed)
	}
	graph, err := unpack(packed) // a stored graph may be verified whatever its size
	if err != nil {
		return err
	}
	o.flow.Graph = graph
	return o.flow.Link()
}

// openRecord creates the row in operation_logs.
func (o *reading) openRecord(ctx context.Context) {
	if o.record != nil {
		return
	}
	rec := o.input.Record
	row := database.OperationLog{ID: o.entry.ID, StartedAt: o.entry.CreatedAt, ProjectID: rec.ProjectID, OperationType: o.entry.Kind,
		CheckpointID: o.input.Checkpoint, ProviderID: o.entry.ProviderID, Status: progress.RecordInProgress}
	if o.flow.Kind == protection.Restore {
		row.RestoreID = rec.ID
	}
	o.record = progress.OpenLog(ctx, o.engine.Records, o.log, row)
}

// begin implements work.
func (o *reading) begin(ctx context.Context) error {
	if o.resumed {
		return nil // the record already has this status, or an earlier run has written the result
	}
	return o.row.Begin(ctx)
}

// complete implements work.
func (o *reading) complete(ctx context.Context) error {
	return o.finishRecord(ctx, progress.RecordSuccess, "", false)
}

// fail implements work.
func (o *reading) fail(ctx context.Context, out *outcome) error {
	if out.Refused == "" {
		if err := o.makeRecord(ctx); err != nil && !failure.Final(err) {
			return err
		}
	}
	return o.finishRecord(ctx, progress.RecordFail, out.Reason, o.flow.Kind == protection.Restore && out.Cancelled)
}

// finishRecord writes the result of the operation into both tables. The operation log is closed
// even if the record is gone or the database refuses it.
func (o *reading) finishRecord(ctx context.Context, status, reason string, undone bool) error {
	err := o.row.End(ctx, status, o.tracker.Reports(), reason, undone)
	switch {
	case database.Refused(err) != nil:
		o.log.Errorf("the record stays as it is: %s", fault.Detail(err))
		err = nil
	case failure.HandedOver(err), err != nil && (!failure.Final(err) || status == progress.RecordSuccess):
		return err
	}
	if o.record == nil && !o.resumed {
		return err // refused before a record existed
	}
	o.openRecord(ctx)
	return errors.Join(err, o.endLog(ctx, o.record, status, reason))
}
