// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"slices"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
)

// deletable are the statuses in which nobody works on a checkpoint. In another
// one it has to be ownerless.
var deletable = []checkpoint.Status{checkpoint.Available, checkpoint.Error, checkpoint.ErrorDeleting}

// delete starts to delete a checkpoint and answers null.
func (m *Manager) delete(ctx context.Context, a *arguments) (any, error) {
	p, id, err := m.checkpointArguments(a)
	if err != nil {
		return nil, err
	}
	cp, err := accessible(ctx, p, id)
	if fault.Is(err, "CheckpointNotFound") || fault.Is(err, "InvalidParameterValue") {
		return nil, fault.InvalidInput("Invalid checkpoint_id or provider_id").WithCause(err)
	}
	if err != nil {
		return nil, err // the id may be right: the bank, or this checkpoint, cannot be read
	}
	if !slices.Contains(deletable, cp.Status()) {
		if ownerless, err := m.operations.Ownerless(ctx, p, cp); err != nil || !ownerless {
			return nil, fault.CheckpointNotBeDeleted(id).WithCause(err)
		}
	}
	return nil, m.operations.Delete(ctx, p, cp)
}

// resettable are the statuses that a reset may leave. Others only when the
// checkpoint is ownerless.
// karbor: manager.py; error-deleting is ours, since it would have no way out.
var resettable = []checkpoint.Status{checkpoint.Available, checkpoint.Error, checkpoint.Copying, checkpoint.WaitCopying,
	checkpoint.Finished, checkpoint.ErrorDeleting}

// resetTo are the statuses that karbor-api's schema lets a user ask for. Any
// other would leave the checkpoint in a status that nothing can end.
var resetTo = []checkpoint.Status{checkpoint.Available, checkpoint.Error}

// resetState writes a status into a checkpoint and answers null.
func (m *Manager) resetState(ctx context.Context, a *arguments) (any, error) {
	state := checkpoint.Status(a.required("state"))
	p, id, err := m.checkpointArguments(a)
	if err != nil {
		return nil, err
	}
	cp, err := accessible(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(resettable, cp.Status()) {
		if ownerless, err := m.operations.Ownerless(ctx, p, cp); err != nil || !ownerless {
			return nil, fault.CheckpointNotBeReset(id).WithCause(err)
		}
	}
	if !slices.Contains(resetTo, state) {
		return nil, fault.InvalidInput(`argument state: want "available" or "error"`)
	}
	if err = cp.SetStatus(state); err == nil {
		err = cp.Commit(ctx)
	}
	if operation.Overtaken(err) {
		return nil, fault.CheckpointNotBeReset(id).WithCause(err)
	}
	return nil, err
}
