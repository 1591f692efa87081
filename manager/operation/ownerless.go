// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers"
)

// Abandonment is how sure it is that nobody is at work on a checkpoint.
type Abandonment int

// The degrees.
const (
	// Attended is a checkpoint on which an operation is at work, or which has an
	// owner who lives.
	Attended Abandonment = iota
	// Unknown is a checkpoint that the journal knows of no operation on, in a bank
	// whose owners have no lease that could tell more. Its owner is not this
	// worker.
	Unknown
	// Abandoned is a checkpoint that the journal knows of no operation on, and
	// whose owner has no lease any more.
	Abandoned
)

// Abandonment judges whether anybody is at work on a checkpoint, or will go on.
// The journal tells of all workers that share it, the lease of the others: the
// Python worker, and workers with a database of their own.
func (e *Engine) Abandonment(ctx context.Context, p *providers.Provider, checkpointID, owner string) (Abandonment, error) {
	entries, err := e.journal.List(ctx, journal.Filter{CheckpointID: checkpointID, Unfinished: true, Limit: 1})
	if err != nil {
		return Attended, fmt.Errorf("look for operations on checkpoint %s: %w", checkpointID, err)
	}
	lease := p.Lease()
	switch {
	case len(entries) > 0:
		return Attended, nil
	case lease == nil || owner == "":
		if owner == p.Checkpoints.OwnerID() {
			return Attended, nil
		}
		return Unknown, nil
	}
	held, err := lease.Held(ctx, owner)
	if err != nil {
		return Attended, fmt.Errorf("look for the lease of owner %s of checkpoint %s: %w", owner, checkpointID, err)
	}
	if held {
		return Attended, nil
	}
	return Abandoned, nil
}

// Ownerless tells whether a checkpoint in an unfinished status is one that a
// user may take from its owner. Without leases none is: who knows whether its
// owner lives?
func (e *Engine) Ownerless(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint) (bool, error) {
	if !cp.Status().Unfinished() || p.Lease() == nil {
		return false, nil
	}
	a, err := e.Abandonment(ctx, p, cp.ID(), cp.OwnerID())
	return a == Abandoned, err
}
