// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers/protection"
)

// succeed ends an operation whose hooks have come to their end.
func (r *run) succeed(ctx context.Context) error {
	if err := r.work.complete(ctx); err != nil {
		if handedOver(err) || ctx.Err() != nil {
			return r.given(err)
		}
		r.log.Errorf("%s failed at its end: %s", r.entry.Kind, describe(err))
		v := verdict{Reason: describe(err)}
		if err := r.pronounce(ctx, v); err != nil {
			return r.given(err)
		}
		return r.finish(ctx, v, true, err)
	}
	if err := r.end(ctx, journal.Succeeded, ""); err != nil {
		return r.given(err)
	}
	r.log.Infof("%s is done", r.entry.Kind)
	return nil
}

// conclude ends an operation whose verdict is on record and which is not open. It
// builds what is to be undone, and nothing else. One that was cancelled does not wait for ever: what it made then stays, and is
// told of.
func (r *run) conclude(ctx context.Context, v verdict) error {
	cause := error(errors.New(v.Reason))
	opening, cancel := ctx, context.CancelFunc(func() {})
	if v.Cancelled {
		cause = &protection.CancelError{By: r.cancelledBy()}
		if r.undoBy.IsZero() {
			r.undoBy = time.Now().Add(undoPatience)
		}
		opening, cancel = context.WithDeadline(ctx, r.undoBy)
	}
	defer cancel()
	err := r.reopen(opening, v.Cancelled && r.danger.mayHaveRun())
	if err == nil {
		return r.finish(ctx, v, true, cause)
	}
	if ctx.Err() != nil || handedOver(err) && opening.Err() == nil {
		return r.given(err)
	}
	if v.Cancelled {
		v.Reason, cause = leaving(v.Reason, cause, err)
	}
	return r.finish(ctx, v, false, cause)
}

// leaving adds to a reason what was not taken back, and why.
func leaving(reason string, cause, left error) (string, error) {
	text := "; not removed: " + describe(left)
	return reason + text, fmt.Errorf("%w%s", cause, text)
}

// finish writes a failure down everywhere. It goes on until it has succeeded:
// an operation that has failed must not stay as it is.
func (r *run) finish(ctx context.Context, v verdict, opened bool, cause error) error {
	if v.Cancelled && r.built && r.danger.mayHaveRun() {
		if left := r.flow.undo(ctx); left != nil {
			if handedOver(left) || ctx.Err() != nil {
				return r.given(left)
			}
			v.Reason, cause = leaving(v.Reason, cause, left)
		}
	}
	if err := r.settle(ctx, "write that the "+r.entry.Kind+" failed", func(ctx context.Context) error {
		return r.work.fail(ctx, opened, cause)
	}); err != nil {
		if handedOver(err) || ctx.Err() != nil {
			return r.given(err)
		}
		r.log.Errorf("that the %s failed could not be written everywhere: %s", r.entry.Kind, fault.Detail(err))
	}
	outcome := journal.Failed
	if v.Cancelled {
		outcome = journal.Cancelled
	}
	if err := r.end(ctx, outcome, v.Reason); err != nil {
		return r.given(err)
	}
	return nil
}

// settle repeats a write that tells how the operation ended. While it has to
// wait the operation keeps no other from its place.
func (r *run) settle(ctx context.Context, what string, write func(context.Context) error) error {
	first := true
	return r.engine.persist(ctx, func(ctx context.Context) error {
		err := write(ctx)
		if err != nil && !final(err) && first {
			first = false
			r.log.Warnf("%s: tried again: %s", what, fault.Detail(err))
			r.engine.scheduler.release(r.job)
		}
		return err
	})
}

// end closes the journal entry, in which the caller's credentials do not stay.
func (r *run) end(ctx context.Context, o journal.Outcome, reason string) error {
	return r.settle(ctx, "end the operation in the journal", func(ctx context.Context) error {
		return awaited(r.engine.journal.End(ctx, r.entry.ID, r.entry.Claim, o, reason, r.input.left()))
	})
}

// pronounce makes a verdict durable.
func (r *run) pronounce(ctx context.Context, v verdict) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return r.scribe.save(ctx, verdictMark, text)
}
