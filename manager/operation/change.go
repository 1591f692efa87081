// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/bank/checkpoint"
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
	return err
}

// begin implements work.
func (o *change) begin(context.Context) error { return nil }

// fail implements work.
func (o *change) fail(ctx context.Context, _ bool, cause error) error {
	return o.endWith(ctx, o.failed, cause)
}

// succeed writes the status of success, by finish, everywhere.
func (o *change) succeed(ctx context.Context, finish func(context.Context) error) error {
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
