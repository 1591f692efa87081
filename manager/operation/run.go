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

// phase is how far an operation has come. It goes forward only, and is on record: the
// marks of the journal entry tell every owner in which phase the operation is.
//
//	phase    what is done                     a failure that passes   one that does not      a handover
//	opening  rows and checkpoint are made     repeated                decides the outcome    left to the next owner
//	walking  hooks run                        the plugins' to judge   decides the outcome    left to the next owner
//	walked   success is written               repeated                decides the outcome    left to the next owner
//	undoing  what hooks have made is removed  repeated, for a while   is told of             left to the next owner
//	telling  failure is written               repeated                is logged              left to the next owner
//
// Walked and telling end with the journal entry, so that the entry ends after bank and
// database say the same.
type phase int

const (
	opening phase = iota
	walking
	walked
	undoing
	telling
	ended
)

// The marks by which the phase is on record.
const (
	walkedMark  = "walked"
	outcomeMark = "verdict"
)

// outcome is how an operation that failed or was cancelled is to end. It is durable
// before anything tells of it, so that no hook runs afterwards.
type outcome struct {
	Reason    string `json:"reason"`
	Cancelled bool   `json:"cancelled,omitempty"`
	// Refused is what the caller was told in place of a result; the operation
	// never ran.
	Refused string `json:"refused,omitempty"`
	// Undone is set when what hooks had made is removed, or Reason says what is not.
	Undone bool `json:"undone,omitempty"`
}

// run is one operation in this process, from its journal entry to its end.
type run struct {
	engine   *Engine
	entry    journal.Entry
	input    *input
	caller   *requestcontext.RequestContext
	provider *providers.Provider // nil: the operation ends without
	log      logrus.FieldLogger

	work work
	flow *flow.Flow
	job  *queue.Job
	done chan struct{} // closed when the engine has forgotten the run

	phase phase
	// outcome of an operation that failed. While the phase is walked or an earlier one,
	// it is not on record yet.
	outcome *outcome
	// resumed is set when another process, or an earlier time of this one, may
	// have done something already.
	resumed bool
	// underway is set when hooks had been reached before the operation was resumed.
	underway bool
	// untouched is set when the bank was not asked for anything.
	untouched bool
	// opened is set when this process knows checkpoint and rows.
	opened bool
	// undoBy is when a cancelled operation no longer waits for what it needs to undo.
	undoBy time.Time

	marks     *progress.MarkWriter
	tracker   *progress.Tracker
	probation *probation
	// ctx ends when the operation is left to others, and only then; hooks also end when
	// the operation is cancelled or out of time.
	ctx          context.Context
	handOver     context.CancelCauseFunc
	detachTenure func() bool
	fence        func() error // of the tenure, without which nothing is written or changed
	hooks        context.Context
	cancelHooks  context.CancelCauseFunc

	traffic bank.Traffic
	graph   atomic.Pointer[resource.Graph] // of the flow, once hooks start

	mu sync.Mutex // guards entry.CancelledBy
}

// outageTolerance is how long each call of an operation waits for a service that is
// away: longer than one takes to be restarted.
const outageTolerance = 2 * time.Minute

// take gives the run what the operation starts from.
func (r *run) take(in *input) {
	in.Caller = "" // it is with the entry, and may be long
	r.input = in
	r.flow = &flow.Flow{Kind: protection.Kind(r.entry.Kind), Provider: r.provider, Recorder: recorder{r.tracker, r.probation}, Log: r.log,
		Draining: r.engine.draining, Workers: r.engine.MaxTasks, HookTimeout: r.engine.HookTimeout}
	r.work = newWork(r)
}

// recorder is the tracker of a run whose probation ends with the first hook.
type recorder struct {
	*progress.Tracker
	probation *probation
}

// Finish implements flow.Recorder.
func (r recorder) Finish(key resource.Key, hook string, made map[string]string) {
	r.Tracker.Finish(key, hook, made)
	r.probation.survived()
}

// park forgets what an operation is about that waits for its turn: the journal has it.
func (r *run) park() {
	if r.outcome != nil {
		return // its end needs no more than that
	}
	r.input, r.work, r.flow = nil, nil, nil
	r.tracker.Reset()
}

// unpark reads again what park has forgotten. The run then goes on like that of
// another worker.
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

// writing returns a context that allows to write to the bank and to change something
// at services for the operation as long as the tenure lasts.
func (r *run) writing(ctx context.Context) context.Context {
	return bank.WithTraffic(bank.WithWork(guard.With(ctx, r.fence), r.entry.ID), &r.traffic)
}

// start hands a run that is open to the queue.
func (r *run) start() {
	if !r.engine.queue.Submit(r.job) {
		r.engine.forget(r.entry.ID)
	}
}

// pauseBetweenAttempts is how long an operation rests that was broken off
// though the worker still owns it, as when the bank's lease was lost.
const pauseBetweenAttempts = 2 * time.Second

// execute runs the operation in its turn.
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

// rest waits before the next attempt and reports whether there is to be one.
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

// attempt takes the operation to its end. An error leaves it as it stands.
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
		// Its former worker may be asleep with a foot in the door of the bank. A bank
		// that cannot be asked to shut it cannot be written to either, as will show.
		if err := r.provider.Disown(r.ctx, r.entry.ID); err != nil {
			r.log.Warnf("what others had begun to write for the %s may still be written: %v", r.entry.Kind, err)
		}
	}
	return r.finish(r.ctx)
}

// finish takes the operation from the phase on record to its end.
func (r *run) finish(ctx context.Context) (err error) {
	if r.outcome == nil {
		err = r.recall(ctx)
		if err != nil && !failure.HandedOver(err) && ctx.Err() == nil {
			r.outcome, err = &outcome{Reason: failure.Describe(err)}, nil
		}
	}
	if err == nil && r.outcome != nil && r.phase < undoing { // not on record yet
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

// recall reads what earlier runs of a resumed operation have recorded.
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

// decide records how the operation ends, before anything tells of it.
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

// open finds or makes what tells of the operation, unless that is done.
func (r *run) open(ctx context.Context) error {
	if r.opened {
		return nil
	}
	err := r.work.open(ctx)
	r.opened = err == nil
	return err
}

// link makes the tasks of the hooks, of a graph that has just been found or of its
// packed form. A graph that cannot be read will never be read.
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

// prepare opens and builds a run that another process, or an earlier attempt, has
// begun. It goes on until that works, cannot work, or ctx ends.
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

// walk brings the hooks to their end. What else ends them, but for a handover, decides
// the operation.
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

// walkHooks runs the hooks, bounded by the operation's own time. That they have ended
// is durable before anything tells of success: nobody cancels what users have seen
// succeed.
func (r *run) walkHooks(ctx context.Context) error {
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

// foretell remarks what a restore of the checkpoint would not bring back today.
func (r *run) foretell(ctx context.Context) error {
	restore := *r.flow
	restore.Parameters = nil // which are those of the verification
	planned, err := restore.Plan(ctx, r.tracker.Remarks())
	for _, one := range planned {
		if one.Error != "" {
			r.tracker.Remarks().Add(remark.Remark{Resource: remark.Resource{Type: one.Type, ID: one.ID}, Aspect: "restore",
				Was: "possible", Is: "not possible", Why: one.Error})
		}
	}
	return err
}

// succeed writes success everywhere. It is too late to cancel the operation.
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

// undoTolerance is how long a cancelled operation waits for what it needs to take
// back what it has made.
const undoTolerance = 5 * time.Minute

// undo removes what the hooks of a cancelled operation have made. It does not wait for
// ever: what is left is told of.
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

// notRemoved begins what a reason says of what is left.
const notRemoved = "; not removed: "

// tell writes a failure everywhere. It goes on until that has succeeded: an operation
// that has failed must not stay as it is.
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

// persist repeats what belongs to the end of the operation. While it has to wait the
// operation keeps no other from its turn.
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

// end closes the journal entry, in which the caller's credentials do not stay.
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

// endLog closes an operation's row. One that the database refuses for good keeps no
// operation from its end.
func (r *run) endLog(ctx context.Context, l *progress.OperationLog, status, reason string) error {
	err := l.End(ctx, status, reason, r.engine.Now().UTC())
	if database.Refused(err) != nil {
		r.log.Errorf("the operation log stays as it is: %s", fault.Detail(err))
		return nil
	}
	return err
}

// refuse ends an operation that could not be opened. told is the text that the
// caller gets.
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

// forged is the outcome of an operation whose entry cannot be trusted. What is wrong
// with the entry is for operators alone.
func (r *run) forged(why error) *outcome {
	r.log.Errorf("%s is not gone on with: %v", r.entry.Kind, why)
	return &outcome{Reason: errForged.Error()}
}

// observe tells of the state that the operation has reached.
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

// cancel ends the hooks, or keeps them from starting.
func (r *run) cancel(by string) {
	r.mu.Lock()
	if r.entry.CancelledBy == "" { // the first who asked counts
		r.entry.CancelledBy = by
	}
	r.mu.Unlock()
	r.cancelHooks(&protection.CancelError{By: by})
}
