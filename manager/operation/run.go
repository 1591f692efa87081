// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/queue"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
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
	job  *queue.Job
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
	r.ctx, r.leave = context.WithCancelCause(requestcontext.New(r.writing(openstack.WithOutageTolerance(e.ctx, patience)), caller))
	r.untie = context.AfterFunc(tenure, func() { r.leave(errors.Join(protection.ErrHandover, context.Cause(tenure))) })
	r.hooks, r.halt = context.WithCancelCause(protection.WithDrain(r.ctx, e.draining.Done()))
	r.scribe = newScribe(r.ctx, e, r.log, entry, func(err error) {
		r.leave(errors.Join(protection.ErrHandover, err))
	})
	r.take(in)
	r.job = &queue.Job{ID: entry.ID, Provider: entry.ProviderID, Project: entry.ProjectID, Run: r.execute, Park: r.park}
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
	defer r.engine.queue.Release(r.job)
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

// refuse ends an operation that could not be opened. told is the text that the
// caller gets.
func (r *run) refuse(ctx context.Context, cause error, told string) {
	ctx, cancel := cleanup(r.writing(ctx))
	defer cancel()
	v := verdict{Reason: describe(cause), Refused: told}
	err := r.pronounce(ctx, v)
	if err == nil {
		err = r.work.fail(ctx, false, cause)
	}
	if err == nil || Overtaken(err) {
		err = r.engine.journal.End(ctx, r.entry.ID, r.entry.Claim, journal.Failed, v.Reason, r.input.left())
	}
	if err == nil {
		r.engine.forget(r.entry.ID)
		return
	}
	r.log.Warnf("that the %s was refused is written later: %s", r.entry.Kind, fault.Detail(err))
	r.sentence = &v
	r.start()
}

// start hands a run that is open to the queue.
func (r *run) start() {
	if !r.engine.queue.Submit(r.job) {
		r.engine.forget(r.entry.ID)
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

// recall reads what earlier runs of a resumed operation have noted, and the
// verdict if there is one.
func (r *run) recall(ctx context.Context) (*verdict, error) {
	if !r.resumed {
		return nil, nil
	}
	var marks []journal.Mark
	err := r.engine.journaled(ctx, r.log, func(ctx context.Context) error {
		var err error
		marks, err = r.engine.journal.Marks(ctx, r.entry.ID, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	var spoken *verdict
	var last *attempt
	r.track.reset()
	for _, m := range marks {
		r.underway = r.underway || m.Key != verdictMark && m.Key != attemptMark
		switch {
		case m.Key == attemptMark:
			last = &attempt{}
			err = json.Unmarshal(m.Value, last)
		case m.Key == verdictMark:
			spoken = &verdict{}
			err = json.Unmarshal(m.Value, spoken)
		case m.Key == walkedMark:
			r.walked = true
		case strings.HasPrefix(m.Key, progressMarks):
			var p *Progress
			if p, err = decodeProgress(m.Value); err == nil {
				r.track.recall(p)
			}
		case strings.HasPrefix(m.Key, reportMarks):
			var told Report
			if err = json.Unmarshal(m.Value, &told); err == nil {
				r.track.recallReport(told)
			}
		case strings.HasPrefix(m.Key, digestMarks):
			var d digest
			if err = json.Unmarshal(m.Value, &d); err == nil {
				r.track.recallDigest(d)
			}
		case strings.HasPrefix(m.Key, stateMarks):
			r.track.recallState(m.Key, m.Value)
		}
		if err != nil {
			return nil, permanent(fmt.Errorf("read mark %q of operation %s: %w", m.Key, r.entry.ID, err))
		}
	}
	r.assess(last)
	return spoken, nil
}

// forged is the verdict on an operation whose entry cannot be trusted. What is wrong
// with the entry is for operators alone.
func (r *run) forged(why error) verdict {
	r.log.Errorf("%s is not gone on with: %v", r.entry.Kind, why)
	return verdict{Reason: errForged.Error()}
}

// resign ends a run without its provider. An error leaves it to others.
func (r *run) resign(ctx context.Context, unable error) error {
	spoken, err := r.recall(ctx)
	if err != nil && (ctx.Err() != nil || handedOver(err) || !final(err)) {
		return r.given(err)
	}
	if spoken != nil && !spoken.Cancelled { // it had failed before anybody cancelled it
		return r.finish(ctx, *spoken, false, errors.New(spoken.Reason))
	}
	if spoken == nil && r.walked {
		seen, err := r.seen(ctx)
		if err != nil {
			return r.given(err)
		}
		if seen {
			return r.end(ctx, journal.Succeeded, "")
		}
	}
	cause := error(&protection.CancelError{By: r.cancelledBy()})
	v := verdict{Reason: cause.Error(), Cancelled: true}
	if left := r.left(); left != "" {
		text := "; " + left + ": " + describe(unable)
		v.Reason, cause = v.Reason+text, fmt.Errorf("%w%s", cause, text)
	}
	if err := r.pronounce(ctx, v); err != nil {
		return r.given(err)
	}
	return r.finish(ctx, v, false, cause)
}

// seen tells whether users see the success of an operation whose hooks have all
// ended well: of a restore or a verification it is made visible here, of the
// others it is in the bank before the operation log is closed.
func (r *run) seen(ctx context.Context) (seen bool, err error) {
	if o, ok := r.work.(*reading); ok {
		return true, o.complete(ctx)
	}
	err = r.engine.persist(ctx, func(ctx context.Context) error {
		row, err := r.engine.Records.GetOperationLog(ctx, r.entry.ID)
		if err == nil {
			status := checkpoint.Status(row.Status)
			seen = !row.EndedAt.IsZero() && (status == checkpoint.Available || status == checkpoint.Deleted)
		}
		return err
	})
	if err != nil && ctx.Err() == nil && final(err) && !handedOver(err) { // there is no such row, or nobody may read it
		return false, nil
	}
	return seen, err
}

// left says what stays of an operation that ends without its provider.
func (r *run) left() string {
	var parts []string
	switch r.flow.kind {
	case protection.Protect, protection.Copy, protection.Delete:
		parts = append(parts, "the status of checkpoint "+r.input.Checkpoint+" stays as it is in the bank")
	}
	switch r.flow.kind {
	case protection.Protect, protection.Copy, protection.Restore:
		if r.danger.mayHaveRun() {
			parts = append(parts, "not removed: what was made of "+strings.Join(r.touched(), ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// touched names the resources of which something may have been made: a hook may
// have done so before anybody could note it.
func (r *run) touched() []string {
	made := map[string]string{} // by resource: the new ones, where they are known
	if graph, err := resource.Unpack(r.input.Graph); err == nil {
		for _, node := range graph.Nodes() {
			made[node.Key().String()] = ""
		}
	}
	for _, p := range r.track.all() {
		name := resource.Key{Type: p.Type, ID: p.ID}.String()
		made[name] = ""
		if len(p.Restored) > 0 {
			made[name] = " (" + strings.Join(slices.Sorted(maps.Values(p.Restored)), ", ") + ")"
		}
	}
	if len(made) == 0 {
		return []string{"the resources of checkpoint " + r.entry.CheckpointID}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(made)) {
		names = append(names, name+made[name])
	}
	return names
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
			r.engine.queue.Release(r.job)
		}
		return err
	})
}

// endLog closes an operation's row. One that the database refuses for good keeps no
// operation from its end.
func (r *run) endLog(ctx context.Context, l *operationLog, status string, cause error) error {
	err := r.settle(ctx, "write status "+status+" into the operation log", func(ctx context.Context) error {
		return l.end(ctx, status, cause)
	})
	if database.Refused(err) != nil {
		r.log.Errorf("the operation log stays as it is: %s", fault.Detail(err))
		return nil
	}
	return err
}

// bounded gives a hook its own time.
func (r *run) bounded(ctx context.Context, hook string, key resource.Key) (context.Context, context.CancelFunc) {
	limit := r.engine.HookTimeout
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("%w: %s of %s took longer than %s", protection.ErrDeadline, hook, key, limit))
}

// note keeps a resource's progress, here at once and in the journal some time
// soon.
func (r *run) note(key resource.Key, edit func(*Progress)) {
	r.scribe.note(markKey(progressMarks, key), r.track.change(key, edit))
}

// noteReport keeps what a hook has told of a resource, some time soon. The run's
// hooks end after that is on record, as notes keep their order.
func (r *run) noteReport(told Report) {
	r.scribe.note(markName(reportMarks, told.Resource), told)
}

// restoredBy returns the new resources that are not noted yet, for the mark of
// the hook that has finished.
func (r *run) restoredBy() map[string]string {
	if r.flow.kind != protection.Restore {
		return nil
	}
	return r.track.unnoted(r.flow.newResources.Changes())
}
