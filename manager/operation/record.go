// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// The statuses of restores and verifications. karbor: common/constants.py
const (
	inProgress = "in_progress"
	success    = "success"
	fail       = "fail"
)

// Record is the restore or verification that karbor-api has put into the
// database before it asks for it.
type Record struct {
	ID         string
	ProjectID  string
	Parameters Parameters
	// New makes the record, for callers without karbor-api; nil if it is there.
	New *database.Record
}

// row updates the record of one restore or verification.
type row struct {
	id     string
	read   func(ctx context.Context, id string) (*database.Record, error)
	update func(ctx context.Context, id string, u database.RecordUpdate) error
	log    logrus.FieldLogger
}

var _ protection.StatusRecorder = (*row)(nil)

// Update implements protection.StatusRecorder. A database that is away keeps
// no hook from going on: what the hook has done is in the cloud either way.
func (r *row) Update(ctx context.Context, resourceType, id, status, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	key := resource.Key{Type: resourceType, ID: id}.String()
	err := r.update(ctx, r.id, database.RecordUpdate{
		ResourcesStatus: map[string]string{key: status},
		ResourcesReason: map[string]string{key: reason},
	})
	if final(err) {
		return err
	}
	if err != nil {
		r.log.Warnf("status %s of %s is not recorded: %s", status, key, fault.Detail(err))
	}
	return nil
}

// begin marks the record as being worked on. A record that is gone ends the
// flow: nobody waits for it any more.
func (r *row) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	status := inProgress
	err := r.update(ctx, r.id, database.RecordUpdate{Status: &status})
	if final(err) {
		return err
	}
	if err != nil {
		r.log.Warnf("status %s is not recorded: %s", status, fault.Detail(err))
	}
	return nil
}

// end writes how it ended. cause is why it failed, nil if it did not; undone
// tells that the resources are gone again.
func (r *row) end(ctx context.Context, status string, cause error, undone bool) error {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	now, err := r.read(ctx, r.id)
	if err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	u := database.RecordUpdate{Status: &status}
	u.ResourcesStatus, u.ResourcesReason = lastStatuses(now.ResourcesStatus, cause, undone)
	if err := r.update(ctx, r.id, u); err != nil {
		return fmt.Errorf("write status %s into the record: %w", status, err)
	}
	return nil
}

// lastStatuses are those of resources of whose end nobody could tell: their
// process died, or the database was away.
func lastStatuses(now map[string]string, cause error, undone bool) (statuses, reasons map[string]string) {
	statuses, reasons = map[string]string{}, map[string]string{}
	for key, status := range now {
		switch {
		case status == protection.StatusError, status == protection.StatusAvailable && !undone:
		case cause == nil:
			statuses[key], reasons[key] = protection.StatusAvailable, ""
		default:
			statuses[key], reasons[key] = protection.StatusError, describe(cause)
		}
	}
	return statuses, reasons
}

// reading is an operation that reads a checkpoint and reports to a record: a
// restore or a verification.
type reading struct {
	*run
	row    *row
	record *operationLog
	create func(ctx context.Context, row *database.Record) (string, error)
}

func newReading(r *run) *reading {
	o := &reading{run: r, create: r.engine.Records.CreateRestore}
	o.row = &row{
		id: r.input.Record.ID, read: r.engine.Records.GetRestore, update: r.engine.Records.UpdateRestore,
		log: r.log.WithField("record", r.input.Record.ID),
	}
	if r.flow.kind == protection.Verify {
		o.create, o.row.read, o.row.update = r.engine.Records.CreateVerification, r.engine.Records.GetVerification, r.engine.Records.UpdateVerification
	}
	return o
}

// read starts a flow over the resources of a checkpoint. It fails with
// FlowError, and then the record says that it failed.
func (e *Engine) read(ctx context.Context, kind protection.Kind, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if packed, ok := cp.ResourceGraph(); ok {
		if err := e.checkGraph(packed); err != nil {
			e.refuseRecord(ctx, kind, rec, err)
			return err
		}
	}
	answer := answerOf(nil)
	if rec.New != nil {
		answer = answerOf(rec.ID)
	}
	r, fresh, err := e.begin(ctx, journal.Entry{
		Kind: string(kind), Subject: cp.ID(), CheckpointID: cp.ID(), RecordID: rec.ID,
		ProviderID: p.ID, PlanID: cp.Plan().ID, ProjectID: rec.ProjectID,
	}, &input{Checkpoint: cp.ID(), Record: &rec, Answer: answer, held: graphSize(cp)}, p)
	switch {
	case r == nil && err != nil:
		e.refuseRecord(ctx, kind, rec, err)
		return err
	case err != nil:
		const text = "Failed to create flow"
		r.refuse(ctx, err, text)
		return fault.FlowError(string(kind), text).WithCause(err)
	case !fresh:
		_, _, err := e.Answered(ctx)
		return err
	}
	r.start()
	return nil
}

// open implements work.
func (o *reading) open(ctx context.Context) error {
	rec := o.input.Record
	if rec.New != nil {
		if _, err := o.create(ctx, rec.New); err != nil {
			return err
		}
	}
	o.openRecord(ctx)
	cp, err := o.provider.Checkpoints.Get(ctx, o.input.Checkpoint)
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
	err := o.settle(ctx, "write the record", func(ctx context.Context) error { return o.row.end(ctx, status, cause, undone) })
	if err != nil && (!final(err) || status == success) {
		return err
	}
	if o.record == nil && !o.resumed {
		return err // refused before there was one
	}
	o.openRecord(ctx)
	logErr := o.settle(ctx, "close the operation log", func(ctx context.Context) error { return o.record.end(ctx, status, cause) })
	return errors.Join(err, logErr)
}

var errNoGraph = errors.New("the checkpoint has no resource graph")
