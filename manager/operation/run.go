// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

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
	// opened and built tell how far the operation has come in this process.
	opened, built bool
	danger        danger
	// ctx ends when the operation is to be left to others, and only then; hooks
	// also end when it is cancelled or out of time.
	ctx   context.Context
	leave context.CancelCauseFunc
	untie func() bool  // from the tenure
	fence func() error // of the tenure, without which nothing is written or changed
	hooks context.Context
	halt  context.CancelCauseFunc

	mu sync.Mutex // guards entry.CancelledBy and entry.StartedAt
}

// patience is how long each call of an operation waits for a service that is away:
// longer than one takes to be restarted.
const patience = 2 * time.Minute

// newRun makes the run of an entry.
func (e *Engine) newRun(entry journal.Entry, in *input, caller *requestcontext.RequestContext, p *providers.Provider) *run {
	r := &run{engine: e, entry: entry, caller: caller, provider: p, done: make(chan struct{}), track: newTrack()}
	r.log = telemetry.WithRequest(e.log, caller).
		WithFields(logrus.Fields{"operation": entry.Kind, "operation_id": entry.ID, "checkpoint": in.Checkpoint})
	// The worker's tenure ends the work; a new one begins with a new run.
	tenure := e.Tenure.Context()
	r.fence = e.Tenure.Fence()
	r.ctx, r.leave = context.WithCancelCause(requestcontext.New(r.writing(openstack.WithPatience(e.ctx, patience)), caller))
	r.untie = context.AfterFunc(tenure, func() { r.leave(errors.Join(protection.ErrHandover, context.Cause(tenure))) })
	r.hooks, r.halt = context.WithCancelCause(protection.WithDrain(r.ctx, e.draining.Done()))
	r.scribe = newScribe(r.ctx, e, r.log, entry, func(err error) {
		r.leave(errors.Join(protection.ErrHandover, err))
	})
	r.take(in)
	r.job = &job{id: entry.ID, provider: entry.ProviderID, project: entry.ProjectID, run: r.execute, park: r.park}
	return r
}

// take gives the run what the operation starts from.
func (r *run) take(in *input) {
	in.Caller = "" // it is with the entry, and may be long
	r.input = in
	r.flow = flow{run: r, kind: protection.Kind(r.entry.Kind), provider: r.provider, log: r.log}
	r.work = newWork(r)
}

// park forgets what an operation is about that waits for its turn: the journal has it.
func (r *run) park() {
	if r.sentence != nil {
		return // its end needs no more than that
	}
	r.input, r.work, r.flow, r.built = nil, nil, flow{}, false
	r.track.reset()
}

// unpark reads again what park has forgotten. The run then goes on like that of
// another worker.
func (r *run) unpark() error {
	in, err := r.engine.inputOf(r.ctx, r.entry)
	if errors.Is(err, errForged) {
		in, r.sentence = inputOfEntry(&r.entry), new(r.forged(err))
	} else if err != nil {
		return r.given(err)
	}
	r.take(in)
	r.resumed = true
	return nil
}

// writing returns a context that allows to write to the bank and to change something
// at services for the operation as long as the tenure lasts.
func (r *run) writing(ctx context.Context) context.Context {
	return bank.WithWork(guard.With(ctx, r.fence), r.entry.ID)
}

// execute runs the operation in its slot.
func (r *run) execute() {
	defer r.engine.forget(r.entry.ID)
	defer r.engine.scheduler.release(r.job)
	defer r.danger.close()
	if r.work == nil {
		if err := r.unpark(); err != nil {
			r.log.Infof("%s is left for others to go on with: %s", r.entry.Kind, fault.Detail(err))
			return
		}
	}
	for {
		err := r.attempt()
		if !handedOver(err) {
			return
		}
		if r.ctx.Err() != nil || r.draining() || disowned(err) || !r.wait() {
			r.handOver()
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
	err := r.engine.journaled(ctx, r.log, func(ctx context.Context) error {
		return r.engine.journal.Start(ctx, r.entry.ID, r.entry.Claim)
	})
	if err != nil {
		return r.given(err)
	}
	if r.entry.StartedAt.IsZero() {
		r.entry.StartedAt = r.engine.Now().UTC()
	}
	if r.resumed {
		// Its former worker may be asleep with a foot in the door of the bank. A bank
		// that cannot be asked to shut it cannot be written to either, as will show.
		if err := r.provider.Disown(ctx, r.entry.ID); err != nil {
			r.log.Warnf("what others had begun to write for the %s may still be written: %v", r.entry.Kind, err)
		}
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
	ready := false
	if err == nil && r.walked {
		err = r.reopen(ctx, false) // it is too late to cancel it
	} else if err == nil {
		if err = context.Cause(r.hooks); err == nil {
			err = r.reopen(r.hooks, true)
		}
		if err != nil && r.hooks.Err() != nil {
			err = context.Cause(r.hooks)
		}
	}
	if err == nil {
		ready = true
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
	if v.Cancelled && !ready {
		return r.conclude(ctx, v)
	}
	return r.finish(ctx, v, ready, err)
}

// open finds or makes what tells of the operation.
func (r *run) open(ctx context.Context) error {
	err := r.work.open(ctx)
	r.opened = r.opened || err == nil
	return err
}

// build makes the hooks and their order.
func (r *run) build(ctx context.Context) error {
	r.built = false
	err := r.work.build(ctx)
	r.built = err == nil
	return err
}

// reopen opens a run that some other process has begun, and builds it if hooks are to
// run or to be undone. It goes on until that works, cannot work, or ctx ends.
func (r *run) reopen(ctx context.Context, build bool) error {
	if !r.resumed {
		return nil
	}
	if err := r.engine.persist(ctx, r.open); err != nil || !build {
		return err
	}
	if err := r.watch(ctx); err != nil {
		return err
	}
	return r.engine.persist(ctx, r.build)
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
	if err := r.hooksStart(ctx); err != nil {
		return err
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

func (r *run) draining() bool { return r.engine.draining.Err() != nil }

// pauseBetweenAttempts is how long an operation rests that was broken off
// though the worker still owns it, as when the bank's lease was lost.
const pauseBetweenAttempts = 2 * time.Second

// wait rests before the next attempt and tells whether there is to be one.
func (r *run) wait() bool {
	r.log.Warnf("%s rests until its bank can be written to again", r.entry.Kind)
	select {
	case <-time.After(pauseBetweenAttempts):
		return true
	case <-r.engine.draining.Done():
	case <-r.ctx.Done():
	}
	return false
}
