// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers/protection"
)

// Cancel asks for the end of an operation, wherever it runs. by names who asks.
// It fails with InvalidInput when there is no such operation, or it has ended.
func (e *Engine) Cancel(ctx context.Context, id, by string) error {
	err := e.journal.Cancel(ctx, id, by)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return NotFound(id)
	case errors.Is(err, journal.ErrEnded):
		return fault.InvalidInput("Operation " + id + " has ended already.").WithCause(err)
	case err != nil:
		return unrecorded(err)
	}
	e.Cancelled(id, by)
	return nil
}

// NotFound is the answer to a question about an operation that there is not.
func NotFound(id string) error {
	return fault.InvalidInput("Operation " + id + " could not be found.")
}

// Cancelled ends an operation of this worker whose end was asked for in the
// journal; it may be told more than once. One that waits for its turn need not
// wait any longer.
func (e *Engine) Cancelled(id, by string) {
	r := e.find(id)
	if r == nil {
		if s, ok := e.strandedOne(id); ok {
			s.entry.CancelledBy = by
			e.Adopt(s.entry)
		}
		return
	}
	r.cancel(by)
	if j := e.scheduler.withdraw(id); j != nil {
		j.once.Do(func() {}) // it never had a slot
		go j.run()
	}
}

func (r *run) cancelledBy() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry.CancelledBy
}

// cancel ends the hooks, or keeps them from starting.
func (r *run) cancel(by string) {
	r.mu.Lock()
	if r.entry.CancelledBy == "" { // the first who asked counts
		r.entry.CancelledBy = by
	}
	r.mu.Unlock()
	r.halt(&protection.CancelError{By: by})
}
