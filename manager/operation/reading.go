// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// reading is an operation that reads a checkpoint and reports to a record: a
// restore or a verification.
type reading struct {
	*run
	kind   database.RecordKind
	row    *recordWriter
	record *operationLog
}

func newReading(r *run) *reading {
	o := &reading{run: r, kind: recordKind(r.flow.kind)}
	o.row = &recordWriter{
		kind: o.kind, id: r.input.Record.ID, rows: r.engine.Records,
		note: r.noteReport, log: r.log.WithField("record", r.input.Record.ID), reports: map[string]Report{},
		alive: &r.engine.alive,
	}
	o.row.ctx, o.row.stop = context.WithCancel(r.ctx)
	return o
}

// recordKind is the kind of the record of a restore or verification.
func recordKind(kind protection.Kind) database.RecordKind {
	if kind == protection.Verify {
		return database.Verifications
	}
	return database.Restores
}

// open implements work.
func (o *reading) open(ctx context.Context) error {
	rec := o.input.Record
	if rec.New != nil {
		if _, err := o.engine.Records.Create(ctx, o.kind, rec.New); err != nil {
			return err
		}
	}
	o.openRecord(ctx)
	cp, err := o.provider.Checkpoints.Get(ctx, o.input.Checkpoint)
	if err == nil {
		err = cp.CheckSeal()
	}
	if err != nil {
		return err
	}
	o.flow.checkpoint, o.flow.parameters, o.flow.status = cp, rec.Parameters, o.row
	if o.flow.kind == protection.Restore {
		o.flow.newResources = o.track.restored()
	}
	return nil
}

// build implements work.
func (o *reading) build(context.Context) error {
	packed, ok := o.flow.checkpoint.ResourceGraph()
	if !ok {
		return permanent(errNoGraph)
	}
	return o.flow.prepare(packed)
}

// openRecord makes the row in operation_logs.
func (o *reading) openRecord(ctx context.Context) {
	if o.record != nil {
		return
	}
	rec := o.input.Record
	row := database.OperationLog{ProjectID: rec.ProjectID, OperationType: o.entry.Kind, CheckpointID: o.input.Checkpoint,
		ProviderID: o.entry.ProviderID, Status: inProgress}
	if o.flow.kind == protection.Restore {
		row.RestoreID = rec.ID
	}
	o.record = o.engine.openLog(ctx, o.run, row)
}

// begin implements work.
func (o *reading) begin(ctx context.Context) error {
	if o.resumed {
		return nil // the record says so already, or an earlier run has written how it ended
	}
	return o.row.begin(ctx)
}

// complete implements work.
func (o *reading) complete(ctx context.Context) error {
	return o.finishRecord(ctx, success, nil)
}

// fail implements work.
func (o *reading) fail(ctx context.Context, _ bool, cause error) error {
	return o.finishRecord(ctx, fail, cause)
}

// finishRecord writes how it ended into both tables. A record that is gone
// keeps the operation log from staying open no more than a database that is
// away.
func (o *reading) finishRecord(ctx context.Context, status string, cause error) error {
	undone := o.flow.kind == protection.Restore && errors.Is(cause, protection.ErrCancelled)
	o.row.recall(o.track.reported())
	err := o.settle(ctx, "write the record", func(ctx context.Context) error { return o.row.end(ctx, status, cause, undone) })
	switch {
	case database.Refused(err) != nil:
		o.log.Errorf("the record stays as it is: %s", fault.Detail(err))
		err = nil
	case handedOver(err), err != nil && (!final(err) || status == success):
		return err
	}
	if o.record == nil && !o.resumed {
		return err // refused before there was one
	}
	o.openRecord(ctx)
	return errors.Join(err, o.endLog(ctx, o.record, status, cause))
}

var errNoGraph = errors.New("the checkpoint has no resource graph")
