// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/rpc"
)

// work is what differs between the kinds of operations. Each method may be
// called again after a crash that came at any point of it.
type work interface {
	// open gets ready: it finds or makes the checkpoint and the rows that tell
	// of the operation, and fills the flow.
	open(ctx context.Context) error
	// begin says that the hooks start.
	begin(ctx context.Context) error
	// complete says that they have all finished.
	complete(ctx context.Context) error
	// fail says that they have not. opened is false when open failed.
	fail(ctx context.Context, opened bool, cause error) error
}

// run is one operation in this process, from its journal entry to its end.
type run struct {
	engine   *Engine
	entry    journal.Entry
	input    *input
	caller   *requestcontext.RequestContext
	provider *providers.Provider
	log      logrus.FieldLogger

	work work
	flow flow
	job  *job
	done chan struct{} // closed when the engine has forgotten the run

	// resumed tells that another process, or an earlier time of this one, may
	// have done something already.
	resumed bool
	// underway tells that hooks had been reached when it was resumed.
	underway bool
	// walked tells that all hooks have ended well, on record.
	walked bool
	// undoBy is when a cancelled operation gives up to wait until it can be undone.
	undoBy time.Time
	// sentence is the verdict on an operation that was refused before it ran.
	sentence *verdict
	scribe   *scribe
	track    *track
	// ctx ends when the operation is to be left to others, and only then; hooks
	// also end when it is cancelled or out of time.
	ctx   context.Context
	leave context.CancelCauseFunc
	untie func() bool  // from the tenure
	fence func() error // of the tenure, without which the bank is not written to
	hooks context.Context
	halt  context.CancelCauseFunc

	mu sync.Mutex // guards entry.CancelledBy and entry.StartedAt
}

// newRun makes the run of an entry.
func (e *Engine) newRun(entry journal.Entry, in *input, caller *requestcontext.RequestContext, p *providers.Provider) *run {
	r := &run{engine: e, entry: entry, input: in, caller: caller, provider: p, done: make(chan struct{}), track: newTrack()}
	r.log = telemetry.WithRequest(e.log, caller).
		WithFields(logrus.Fields{"operation": entry.Kind, "operation_id": entry.ID, "checkpoint": in.Checkpoint})
	// The worker's tenure ends the work; a new one begins with a new run.
	tenure := e.Tenure.Context()
	r.fence = e.Tenure.Fence()
	r.ctx, r.leave = context.WithCancelCause(requestcontext.New(bank.WithGuard(e.ctx, r.fence), caller))
	r.untie = context.AfterFunc(tenure, func() { r.leave(errors.Join(protection.ErrHandover, context.Cause(tenure))) })
	r.hooks, r.halt = context.WithCancelCause(protection.WithDrain(r.ctx, e.drain))
	r.scribe = newScribe(r.ctx, e.journal, entry.ID, entry.Claim, func(err error) {
		r.leave(errors.Join(protection.ErrHandover, err))
	})
	r.flow = flow{run: r, kind: protection.Kind(entry.Kind), provider: p, log: r.log}
	r.work = newWork(r)
	r.job = &job{id: entry.ID, provider: entry.ProviderID, project: entry.ProjectID, run: r.execute}
	return r
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

// known tells whether there is an operation of a kind.
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
	return permanent(fmt.Errorf("this worker knows no operation %q", u.kind))
}
func (unknown) begin(context.Context) error             { return nil }
func (unknown) complete(context.Context) error          { return nil }
func (unknown) fail(context.Context, bool, error) error { return nil }

// begin records an operation and opens it. fresh is false when the message had
// been recorded before: then r is nil. When the operation cannot be opened, it
// ends, and the error is that of open.
func (e *Engine) begin(ctx context.Context, entry journal.Entry, in *input, p *providers.Provider) (r *run, fresh bool, err error) {
	request, caller := requestOf(ctx), requestcontext.From(ctx)
	entry.ID, entry.Owner = newID(), e.Tenure.ID()
	defer e.expect(entry.ID)()
	if entry.Key == "" {
		entry.Key = request.Key
	}
	in.Version = inputVersion
	if err := in.putCaller(caller, e.Sealer, entry.ID, e.Now()); err != nil {
		return nil, false, err
	}
	if entry.Input, err = json.Marshal(in); err != nil {
		return nil, false, fmt.Errorf("encode the input of the operation: %w", err)
	}
	if err := recordable(&entry); err != nil {
		return nil, false, err
	}
	entry.CreatedAt = e.Now().UTC()
	kept, fresh, err := e.enter(ctx, entry)
	var busy *journal.BusyError
	switch {
	case errors.As(err, &busy):
		return nil, false, inUse(in.subject(), busy)
	case err != nil:
		return nil, false, unrecorded(err)
	}
	request.accepted()
	if !fresh {
		return nil, false, nil
	}
	kept.Input = nil // in says the same
	r = e.newRun(kept, in, caller, p)
	if _, ok := e.enlist(r); !ok { // the service stops: who goes on answers nobody
		return nil, false, fault.KarborException("The service is stopping; the operation goes on when it is back").WithCause(ErrStopping)
	}
	err = r.work.open(bank.WithGuard(ctx, r.fence))
	if err != nil && (r.ctx.Err() != nil || errors.Is(context.Cause(ctx), rpc.ErrStopped)) {
		// Nothing is wrong with the operation, but this worker has to leave it: it is
		// on record, and who goes on opens it.
		r.log.Infof("%s is opened later: %s", entry.Kind, fault.Detail(err))
		r.resumed = true
		return r, true, nil
	}
	return r, true, err
}

// enter begins an entry. Users see that an operation has ended a moment before
// its entry is closed, and may ask for the next one at once: that waits.
func (e *Engine) enter(ctx context.Context, entry journal.Entry) (journal.Entry, bool, error) {
	deadline := time.Now().Add(e.Patience)
	for {
		kept, fresh, err := e.journal.Begin(ctx, entry)
		var busy *journal.BusyError
		if !errors.As(err, &busy) || !time.Now().Before(deadline) {
			return kept, fresh, err
		}
		select {
		case <-time.After(betweenEntries):
		case <-ctx.Done():
			return kept, fresh, err
		}
	}
}

// betweenEntries is the pause between two attempts to begin an entry.
const betweenEntries = 50 * time.Millisecond

// recordable checks what users can make too large for the journal.
func recordable(entry *journal.Entry) error {
	for name, value := range map[string]string{
		"provider_id": entry.ProviderID, "checkpoint_id": entry.CheckpointID, "plan id": entry.PlanID,
		"project_id": entry.ProjectID, "record id": entry.RecordID,
	} {
		if len(value) > journal.MaxText || !utf8.ValidString(value) || strings.Contains(value, "\x00") {
			return fault.InvalidInput(fmt.Sprintf("%s: want a text of at most %d bytes", name, journal.MaxText))
		}
	}
	if len(entry.Input) > journal.MaxInput {
		return fault.InvalidInput(fmt.Sprintf("the plan and all that depends on it take %d bytes, at most %d can be kept",
			len(entry.Input), journal.MaxInput))
	}
	return nil
}

func (in *input) subject() string {
	if in.Source != "" {
		return in.Source
	}
	return in.Checkpoint
}

// inUse is the answer to a request for a checkpoint that another operation is
// at work on.
func inUse(checkpointID string, busy *journal.BusyError) error {
	return fault.InvalidInput(fmt.Sprintf("Checkpoint %s is in use: a %s (operation %s) is at work on it.",
		checkpointID, busy.Other.Kind, busy.Other.ID)).WithCause(busy)
}

// refuse ends an operation that could not be opened. told is the text that the
// caller gets.
func (r *run) refuse(ctx context.Context, cause error, told string) {
	ctx, cancel := cleanup(bank.WithGuard(ctx, r.fence))
	defer cancel()
	v := verdict{Reason: describe(cause), Refused: told}
	err := r.pronounce(ctx, v)
	if err == nil {
		err = r.work.fail(ctx, false, cause)
	}
	if err == nil || Overtaken(err) {
		err = r.engine.journal.End(ctx, r.entry.ID, r.entry.Claim, journal.Failed, v.Reason)
	}
	if err == nil {
		r.engine.forget(r.entry.ID)
		return
	}
	r.log.Warnf("that the %s was refused is written later: %s", r.entry.Kind, fault.Detail(err))
	r.sentence = &v
	r.start()
}

// start hands a run that is open to the scheduler.
func (r *run) start() {
	if !r.engine.scheduler.submit(r.job) {
		r.engine.forget(r.entry.ID)
	}
}

// execute runs the operation in its slot.
func (r *run) execute() {
	defer r.engine.forget(r.entry.ID)
	defer r.engine.scheduler.release(r.job)
	for {
		err := r.attempt()
		if !handedOver(err) {
			return
		}
		if r.ctx.Err() != nil || r.draining() || disowned(err) || !r.wait() {
			r.log.Infof("%s is left for others to go on with: %s", r.entry.Kind, fault.Detail(err))
			return
		}
		r.resumed = true
	}
}

// attempt takes the operation to its end. An error that is a handover leaves it
// as it stands.
func (r *run) attempt() error {
	ctx := r.ctx
	err := persist(ctx, func(ctx context.Context) error { return r.engine.journal.Start(ctx, r.entry.ID, r.entry.Claim) })
	if err != nil {
		return r.given(err)
	}
	if r.entry.StartedAt.IsZero() {
		r.entry.StartedAt = r.engine.Now().UTC()
	}
	if r.sentence != nil {
		if err := r.pronounce(ctx, *r.sentence); err != nil {
			return r.given(err)
		}
		return r.finish(ctx, *r.sentence, false, errors.New(r.sentence.Reason))
	}
	spoken, err := r.recall(ctx)
	if spoken != nil {
		return r.conclude(ctx, *spoken)
	}
	opened := false
	if err == nil && r.walked {
		err = r.reopen(ctx) // it is too late to cancel it
	} else if err == nil {
		if err = r.reopen(r.hooks); err != nil && r.hooks.Err() != nil {
			err = context.Cause(r.hooks)
		}
	}
	if err == nil {
		opened = true
		err = r.walk(ctx)
	}
	if err == nil {
		return r.succeed(ctx)
	}
	if handedOver(err) || ctx.Err() != nil {
		return r.given(err)
	}
	r.log.Errorf("%s failed: %s", r.entry.Kind, describe(err))
	v := verdict{Reason: describe(err), Cancelled: errors.Is(err, protection.ErrCancelled)}
	if err := r.pronounce(ctx, v); err != nil {
		return r.given(err)
	}
	if v.Cancelled && !opened {
		return r.conclude(ctx, v)
	}
	return r.finish(ctx, v, opened, err)
}

// reopen opens a run that some other process has begun. It goes on until that
// works, cannot work, or ctx ends.
func (r *run) reopen(ctx context.Context) error {
	if !r.resumed {
		return nil
	}
	return persist(ctx, r.work.open)
}

// undoPatience is how long a cancelled operation waits for what it needs to take
// back what it has made.
const undoPatience = 5 * time.Minute

// walk runs the hooks, bounded by the operation's own time, unless an earlier run
// has brought them to their end. That they have ended is durable before anything
// tells of success: nobody cancels what users have seen succeed.
func (r *run) walk(ctx context.Context) error {
	if r.walked {
		return nil
	}
	if err := r.work.begin(ctx); err != nil {
		return err
	}
	hooks, end := context.WithCancelCause(r.hooks)
	defer end(nil)
	if lease := r.provider.Lease(); lease != nil { // who has lost it may not write any more
		held := lease.Context()
		defer context.AfterFunc(held, func() { end(context.Cause(held)) })()
	}
	if limit := r.engine.OperationTimeout; limit > 0 {
		left := limit - r.engine.Now().Sub(r.entry.StartedAt)
		bounded, cancel := context.WithTimeoutCause(hooks, max(left, 0),
			fmt.Errorf("%w: the operation took longer than %s", protection.ErrDeadline, limit))
		defer cancel()
		hooks = bounded
	}
	if err := context.Cause(hooks); err != nil {
		return err // cancelled before it began
	}
	r.log.WithField("resources", r.flow.graph.Len()).Infof("%s %s", r.entry.Kind, map[bool]string{false: "starts", true: "goes on"}[r.resumed])
	if err := r.flow.walk(hooks); err != nil {
		return err
	}
	if err := r.scribe.save(ctx, walkedMark, json.RawMessage("true")); err != nil {
		return err
	}
	r.walked = true
	return nil
}

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

// conclude ends an operation whose verdict is on record and which is not open.
// One that was cancelled does not wait for ever: what it made then stays, and is
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
	err := r.reopen(opening)
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
	if v.Cancelled && opened {
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
		if ctx.Err() != nil {
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
	return persist(ctx, func(ctx context.Context) error {
		err := write(ctx)
		if err != nil && !final(err) && first {
			first = false
			r.log.Warnf("%s: tried again: %s", what, fault.Detail(err))
			r.engine.scheduler.release(r.job)
		}
		return err
	})
}

// end closes the journal entry.
func (r *run) end(ctx context.Context, o journal.Outcome, reason string) error {
	return r.settle(ctx, "end the operation in the journal", func(ctx context.Context) error {
		return r.engine.journal.End(ctx, r.entry.ID, r.entry.Claim, o, reason)
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

// given makes an error that of an operation which is left to others.
func (r *run) given(err error) error {
	if cause := context.Cause(r.ctx); cause != nil && !handedOver(err) {
		return errors.Join(cause, err)
	}
	if !handedOver(err) {
		return errors.Join(protection.ErrHandover, err)
	}
	return err
}

func (r *run) draining() bool {
	select {
	case <-r.engine.drain:
		return true
	default:
		return false
	}
}

// pauseBetweenAttempts is how long an operation rests that was broken off
// though the worker still owns it, as when the bank's lease was lost.
const pauseBetweenAttempts = 2 * time.Second

// wait rests before the next attempt and tells whether there is to be one.
func (r *run) wait() bool {
	r.log.Warnf("%s rests until its bank can be written to again", r.entry.Kind)
	select {
	case <-time.After(pauseBetweenAttempts):
		return true
	case <-r.engine.drain:
	case <-r.ctx.Done():
	}
	return false
}
