// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/manager/flow"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/manager/queue"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// phase is the progress of an operation. It only moves forward. The marks of the journal entry
// record it, so that every owner knows the phase of the operation.
//
//	phase    work                              temporary error         permanent error           handover
//	opening  create rows and checkpoint        retried                 decides the outcome       left to the next owner
//	walking  run hooks                         handled by the plugins  decides the outcome       left to the next owner
//	walked   write the success                 retried                 decides the outcome       left to the next owner
//	undoing  remove what hooks have made       retried for a while     reported in the reason    left to the next owner
//	telling  write the failure                 retried                 logged                    left to the next owner
//
// In walked and telling, the journal entry ends last, after bank and database have the result.
type phase int

const (
	opening phase = iota
	walking
	walked
	undoing
	telling
	ended
)

// The marks that record the phase.
const (
	walkedMark  = "walked"
	outcomeMark = "verdict"
)

// outcome says how an operation that failed or was cancelled ends. It is durable before it is
// reported anywhere, so that no hook runs afterwards.
type outcome struct {
	Reason    string `json:"reason"`
	Cancelled bool   `json:"cancelled,omitempty"`
	// Refused is the caller's answer in place of a result; the operation never ran.
	Refused string `json:"refused,omitempty"`
	// Undone is set if the work of the hooks was removed, or Reason names what was not.
	Undone bool `json:"undone,omitempty"`
}

// run is one operation in this process, from its journal entry to its end.
type run struct {
	engine   *Engine
	entry    journal.Entry
	input    *input
	caller   *requestcontext.RequestContext
	provider *providers.Provider // nil if the operation ends without one
	log      logrus.FieldLogger

	work work
	flow *flow.Flow
	job  *queue.Job
	done chan struct{} // closed when the engine has forgotten the run

	phase phase
	// outcome of a failed operation. It is not recorded yet while the phase is walked or earlier.
	outcome *outcome
	// resumed is set if another process, or an earlier run of this one, may have done some work.
	resumed bool
	// underway is set if hooks had been reached before the operation was resumed.
	underway bool
	// untouched is set if nothing was requested from the bank.
	untouched bool
	// opened is set if this process has the checkpoint and the rows.
	opened bool
	// undoBy is when a cancelled operation stops waiting for services that the undo needs.
	undoBy time.Time

	marks     *progress.MarkWriter
	tracker   *progress.Tracker
	probation *probation
	// ctx ends only when the operation is handed over. Hooks also end when the operation is
	// cancelled or out of time.
	ctx          context.Context
	handOver     context.CancelCauseFunc
	detachTenure func() bool
	fence        func() error // of the tenure; nothing is written or changed without it
	hooks        context.Context
	cancelHooks  context.CancelCauseFunc

	traffic bank.Traffic
	graph   atomic.Pointer[resource.Graph] // of the flow, once hooks start

	mu sync.Mutex // guards entry.CancelledBy
}

// outageTolerance is how long each call of an operation waits for an unavailable service, longer
// than a restart of the service takes.
const outageTolerance = 2 * time.Minute

// take sets the input of the run.
func (r *run) take(in *input) {
	in.Caller = "" // the entry has it, and it may be long
	r.input = in
	r.flow = &flow.Flow{Kind: protection.Kind(r.entry.Kind), Provider: r.provider, Recorder: recorder{r.tracker, r.probation}, Log: r.log,
		Draining: r.engine.draining, Workers: r.engine.MaxTasks, HookTimeout: r.engine.HookTimeout}
	r.work = newWork(r)
}

// recorder is the tracker of a run whose probation ends with the first finished hook.
type recorder struct {
	*progress.Tracker
	probation *probation
}

// Finish implements flow.Recorder.
func (r recorder) Finish(key resource.Key, hook string, made map[string]string) {
	r.Tracker.Finish(key, hook, made)
	r.probation.survived()
}

// park drops the input of a waiting operation, which the journal has.
func (r *run) park() {
	if r.outcome != nil {
		return // all that is needed for its end
	}
	r.input, r.work, r.flow = nil, nil, nil
	r.tracker.Reset()
}

// unpark reads the input that park has dropped. The run then continues like an operation of another
// worker.
func (r *run) unpark() error {
	in, err := r.engine.inputOf(r.ctx, r.entry)
	if errors.Is(err, errForged) {
		in = inputOfEntry(&r.entry)
		r.provider, r.outcome = nil, r.forged(err)
	} else if err != nil {
		return err
	}
	r.take(in)
	r.resumed, r.opened = true, false
	return nil
}

// writing returns a context that allows the operation to write to the bank and to change resources
// of services while the tenure lasts.
func (r *run) writing(ctx context.Context) context.Context {
	return bank.WithTraffic(bank.WithWork(guard.With(ctx, r.fence), r.entry.ID), &r.traffic)
}

// start submits an open run to the queue.
func (r *run) start() {
	if !r.engine.queue.Submit(r.job) {
		r.engine.forget(r.entry.ID)
	}
}

// pauseBetweenAttempts is the pause of an operation that was interrupted although the worker still
// owns it, for example because the bank's lease was lost.
const pauseBetweenAttempts = 2 * time.Second

// execute runs the operation when its turn has come.
func (r *run) execute() {
	defer r.engine.forget(r.entry.ID)
	defer r.engine.queue.Release(r.job)
	defer r.probation.close()
	for {
		err := r.attempt()
		if err == nil {
			return
		}
		if r.ctx.Err() != nil || r.engine.draining.Err() != nil || failure.Disowned(err) || !r.rest() {
			r.probation.close()
			if r.opened && r.ctx.Err() == nil {
				r.probation.handOver()
			}
			r.log.Infof("%s is left for others to go on with: %s", r.entry.Kind, fault.Detail(err))
			return
		}
		r.resumed, r.opened = true, false
	}
}

// rest pauses before the next attempt and reports whether there is one.
func (r *run) rest() bool {
	r.log.Warnf("%s rests until its bank can be written to again", r.entry.Kind)
	select {
	case <-time.After(pauseBetweenAttempts):
		return true
	case <-r.engine.draining.Done():
	case <-r.ctx.Done():
	}
	return false
}

// attempt runs the operation to its end. After an error the operation stays in its current state.
func (r *run) attempt() error {
	if r.work == nil {
		if err := r.unpark(); err != nil {
			return err
		}
	}
	err := r.engine.retry.Journal(r.ctx, r.log, func(ctx context.Context) error {
		return r.engine.journal.Start(ctx, r.entry.ID, r.entry.Claim)
	})
	if err != nil {
		return err
	}
	if r.entry.StartedAt.IsZero() {
		r.entry.StartedAt = r.engine.Now().UTC()
		r.observe(journal.Running, "", "")
	}
	if r.resumed && r.provider != nil {
		// The former worker may be suspended in the middle of a write to the bank. If the bank
		// cannot be asked to prevent that write, it cannot be written to either, and the operation
		// fails later.
		if err := r.provider.Disown(r.ctx, r.entry.ID); err != nil {
			r.log.Warnf("what others had begun to write for the %s may still be written: %v", r.entry.Kind, err)
		}
	}
	return r.finish(r.ctx)
}

// finish takes the operation from its recorded phase to its end.
func (r *run) finish(ctx context.Context) (err error) {
	if r.outcome == nil {
		err = r.recall(ctx)
		if err != nil && !failure.HandedOver(err) && ctx.Err() == nil {
			r.outcome, err = &outcome{Reason: failure.Describe(err)}, nil
		}
	}
	if err == nil && r.outcome != nil && r.phase < undoing { // not recorded yet
		err = r.decide(ctx, *r.outcome)
	}
	for err == nil && r.phase != ended {
		switch r.phase {
		case opening, walking:
			err = r.walk(ctx)
		case walked:
			err = r.succeed(ctx)
		case undoing:
			err = r.undo(ctx)
		default:
			err = r.tell(ctx)
		}
	}
	return err
}

// recall reads the records of earlier runs of a resumed operation.
func (r *run) recall(ctx context.Context) error {
	if !r.resumed {
		return nil
	}
	var marks []journal.Mark
	err := r.engine.retry.Journal(ctx, r.log, func(ctx context.Context) (err error) {
		marks, err = r.engine.journal.Marks(ctx, r.entry.ID, "")
		return err
	})
	if err != nil {
		return failure.AsHandover(r.ctx, err)
	}
	var recorded *outcome
	var last *attempt
	done := false
	r.tracker.Reset()
	for _, m := range marks {
		var err error
		switch m.Key {
		case attemptMark:
			last = &attempt{}
			err = json.Unmarshal(m.Value, last)
		case outcomeMark:
			recorded = &outcome{}
			err = json.Unmarshal(m.Value, recorded)
		default:
			r.underway = true
			done = done || m.Key == walkedMark
			err = r.tracker.Recall(m)
		}
		if err != nil {
			return failure.Permanent(fmt.Errorf("reading mark %q of operation %s: %w", m.Key, r.entry.ID, err))
		}
	}
	r.probation.assess(last)
	switch {
	case recorded != nil:
		r.enterOutcome(recorded)
	case done:
		r.phase = walked
	case r.underway:
		r.phase = walking
	}
	return nil
}

// decide records how the operation ends, before this is reported anywhere.
func (r *run) decide(ctx context.Context, o outcome) error {
	r.outcome = &o
	if err := r.marks.Save(ctx, outcomeMark, o); err != nil {
		return err
	}
	r.enterOutcome(&o)
	return nil
}

func (r *run) enterOutcome(o *outcome) {
	r.outcome, r.phase = o, telling
	if o.Cancelled && !o.Undone && r.probation.mayHaveRun() {
		r.phase = undoing
	}
}

// open finds or creates the checkpoint and the rows, unless that is done.
func (r *run) open(ctx context.Context) error {
	if r.opened {
		return nil
	}
	err := r.work.open(ctx)
	r.opened = err == nil
	return err
}

// link creates the tasks of the hooks, from a new graph or its packed form. A graph that cannot be
// read is a permanent failure.
func (r *run) link(packed string) error {
	if r.flow.Graph == nil {
		if err := r.engine.checkGraph(packed); err != nil {
			return failure.Permanent(err)
		}
		graph, err := unpack(packed)
		if err != nil {
			return err
		}
		r.flow.Graph = graph
	}
	return r.flow.Link()
}

func unpack(packed string) (*resource.Graph, error) {
	graph, err := resource.Unpack(packed)
	if err != nil {
		return nil, failure.Permanent(fmt.Errorf("reading the resource graph: %w", err))
	}
	return graph, nil
}

// prepare opens and builds a run that another process, or an earlier attempt, has begun. It retries
// until it succeeds, fails permanently, or ctx ends.
func (r *run) prepare(ctx context.Context) error {
	if !r.resumed {
		return nil
	}
	if err := r.engine.retry.Do(ctx, r.open); err != nil {
		return err
	}
	if err := r.probation.begin(ctx); err != nil {
		return err
	}
	return r.engine.retry.Do(ctx, r.work.build)
}

// walk runs the hooks to their end. Any error but a handover decides the outcome of the operation.
func (r *run) walk(ctx context.Context) error {
	err := context.Cause(r.hooks)
	if err == nil {
		err = r.prepare(r.hooks)
		if err != nil && r.hooks.Err() != nil {
			err = context.Cause(r.hooks)
		}
	}
	if err == nil {
		err = r.walkHooks(ctx)
	}
	if err == nil || failure.HandedOver(err) || ctx.Err() != nil {
		return err
	}
	r.log.Errorf("%s failed: %s", r.entry.Kind, failure.Describe(err))
	return r.decide(ctx, outcome{Reason: failure.Describe(err), Cancelled: errors.Is(err, protection.ErrCancelled)})
}

// walkHooks runs the hooks within the time limit of the operation. Their end is durable before
// success is reported: nobody may cancel an operation that users have seen succeed.
func (r *run) walkHooks(ctx context.Context) error {
	if err := r.work.begin(ctx); err != nil {
		return err
	}
	hooks, end := context.WithCancelCause(r.hooks)
	defer end(nil)
	if lease := r.provider.Lease(); lease != nil { // without the lease nothing may be written
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
	if err := r.probation.hooksStart(ctx); err != nil {
		return err
	}
	r.phase = walking
	r.graph.Store(r.flow.Graph)
	r.log.WithField("resources", r.flow.Graph.Len()).Infof("%s %s", r.entry.Kind, map[bool]string{false: "starts", true: "goes on"}[r.resumed])
	if err := r.flow.Run(hooks); err != nil {
		return err
	}
	if r.flow.Kind == protection.Verify {
		if err := r.foretell(hooks); err != nil {
			return err
		}
	}
	if err := r.marks.Save(ctx, walkedMark, true); err != nil {
		return err
	}
	r.phase = walked
	return nil
}

// foretell adds remarks on what a restore of the checkpoint would not bring back today.
func (r *run) foretell(ctx context.Context) error {
	restore := *r.flow
	restore.Parameters = nil // they are for the verification
	planned, err := restore.Plan(ctx, r.tracker.Remarks())
	for _, one := range planned {
		if one.Error != "" {
			r.tracker.Remarks().Add(remark.Remark{Resource: remark.Resource{Type: one.Type, ID: one.ID}, Aspect: "restore",
				Was: "possible", Is: "not possible", Why: one.Error})
		}
	}
	return err
}

// succeed writes the success to bank and tables. The operation can no longer be cancelled.
func (r *run) succeed(ctx context.Context) error {
	err := r.persist(ctx, "writing that the "+r.entry.Kind+" succeeded", func(ctx context.Context) error {
		if err := r.open(ctx); err != nil {
			return err
		}
		return r.work.complete(ctx)
	})
	switch {
	case err == nil:
		r.log.Infof("%s is done", r.entry.Kind)
		return r.end(ctx, journal.Succeeded, "")
	case failure.HandedOver(err) || ctx.Err() != nil:
		return err
	}
	r.log.Errorf("%s failed at its end: %s", r.entry.Kind, failure.Describe(err))
	return r.decide(ctx, outcome{Reason: failure.Describe(err)})
}

// undoTolerance is how long a cancelled operation waits for services that the undo needs.
const undoTolerance = 5 * time.Minute

// undo removes what the hooks of a cancelled operation have made. Its time is limited, and the
// reason names what is left.
func (r *run) undo(ctx context.Context) error {
	if r.undoBy.IsZero() {
		r.undoBy = time.Now().Add(undoTolerance)
	}
	patient, cancel := context.WithDeadline(ctx, r.undoBy)
	defer cancel()
	err := r.prepare(patient)
	if err == nil {
		err = r.persist(patient, "undoing the "+r.entry.Kind, func(context.Context) error { return r.flow.Undo(ctx) })
	}
	if ctx.Err() != nil || failure.HandedOver(err) && patient.Err() == nil {
		return errors.Join(context.Cause(ctx), err)
	}
	o := *r.outcome
	o.Undone = true
	if err != nil {
		o.Reason += notRemoved + failure.Describe(err)
	}
	return r.decide(ctx, o)
}

// notRemoved precedes the names of what is left in a reason.
const notRemoved = "; not removed: "

// tell writes a failure to bank and tables. It retries until it succeeds, since a failed operation
// must not remain unfinished.
func (r *run) tell(ctx context.Context) error {
	err := r.persist(ctx, "writing that the "+r.entry.Kind+" failed", func(ctx context.Context) error {
		return r.work.fail(ctx, r.outcome)
	})
	switch {
	case err == nil:
	case failure.HandedOver(err) || ctx.Err() != nil:
		return err
	default:
		r.log.Errorf("that the %s failed could not be written everywhere: %s", r.entry.Kind, fault.Detail(err))
	}
	if r.outcome.Cancelled {
		return r.end(ctx, journal.Cancelled, r.outcome.Reason)
	}
	return r.end(ctx, journal.Failed, r.outcome.Reason)
}

// persist repeats a write at the end of the operation. While it waits, the operation does not hold
// a place in the queue.
func (r *run) persist(ctx context.Context, what string, write func(context.Context) error) error {
	first := true
	return r.engine.retry.Do(ctx, func(ctx context.Context) error {
		err := write(ctx)
		if err != nil && !failure.Final(err) && first {
			first = false
			r.log.Warnf("%s is tried again: %s", what, fault.Detail(err))
			r.engine.queue.Release(r.job)
		}
		return err
	})
}

// end closes the journal entry and removes the caller's credentials from it.
func (r *run) end(ctx context.Context, o journal.Outcome, reason string) error {
	err := r.engine.retry.Journal(ctx, r.log, func(ctx context.Context) error {
		err := r.engine.journal.End(ctx, r.entry.ID, r.entry.Claim, o, reason, r.input.left())
		if err != nil {
			r.engine.queue.Release(r.job)
		}
		return err
	})
	if err == nil {
		r.phase = ended
		r.observe(journal.Ended, o, reason)
	}
	return err
}

// endLog closes the row of an operation. If the database refuses the row permanently, the operation
// ends nevertheless.
func (r *run) endLog(ctx context.Context, l *progress.OperationLog, status, reason string) error {
	err := l.End(ctx, status, reason, r.engine.Now().UTC())
	if database.Refused(err) != nil {
		r.log.Errorf("the operation log stays as it is: %s", fault.Detail(err))
		return nil
	}
	return err
}

// refuse ends an operation that could not be opened. told is the text for the caller.
func (r *run) refuse(ctx context.Context, cause error, told string) {
	ctx, cancel := cleanup(r.writing(ctx))
	defer cancel()
	o := outcome{Reason: failure.Describe(cause), Refused: told}
	err := r.decide(ctx, o)
	if err == nil {
		err = r.work.fail(ctx, &o)
	}
	if err == nil || failure.Overtaken(err) {
		err = r.engine.journal.End(ctx, r.entry.ID, r.entry.Claim, journal.Failed, o.Reason, r.input.left())
	}
	if err == nil {
		r.observe(journal.Ended, journal.Failed, o.Reason)
		r.engine.forget(r.entry.ID)
		return
	}
	r.log.Warnf("that the %s was refused is written later: %s", r.entry.Kind, fault.Detail(err))
	r.start()
}

// forged returns the outcome of an operation whose entry cannot be trusted. The details of the
// error are only for operators.
func (r *run) forged(why error) *outcome {
	r.log.Errorf("%s is not gone on with: %v", r.entry.Kind, why)
	return &outcome{Reason: errForged.Error()}
}

// observe reports the current state of the operation to the observer.
func (r *run) observe(s journal.State, o journal.Outcome, reason string) {
	r.mu.Lock()
	e := Event{Entry: r.entry, Caller: r.caller, Written: r.traffic.Written.Load(), Read: r.traffic.Read.Load()}
	r.mu.Unlock()
	e.State, e.Outcome, e.Reason = s, o, reason
	if s == journal.Ended {
		e.EndedAt = r.engine.Now().UTC()
	}
	r.engine.Observe(e)
}

func (r *run) cancelledBy() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry.CancelledBy
}

// cancel ends the hooks, or prevents their start.
func (r *run) cancel(by string) {
	r.mu.Lock()
	if r.entry.CancelledBy == "" { // the first requester counts
		r.entry.CancelledBy = by
	}
	r.mu.Unlock()
	r.cancelHooks(&protection.CancelError{By: by})
}
