// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers/protection"
)

// probationTime is how long a worker is watched after it resumed an operation of another worker. If
// it dies within that time, before any hook has finished, the operation may have caused the death.
// A worker that lives longer has survived the operation.
const probationTime = 30 * time.Second

// attemptMark is the key of attempt among the marks of an entry. Workers that do not know it ignore
// it.
const attemptMark = "attempt"

// attempt records how the latest owner fares with an operation that it took over. The first owner
// writes one only if it hands over: a commit for every operation would cost too much for such a
// rare need.
type attempt struct {
	Owner      string `json:"owner"`
	Generation int64  `json:"generation"`
	// Watched is set while the probation lasts.
	Watched bool `json:"watched"`
	// Hooks is set if hooks may have run.
	Hooks bool `json:"hooks"`
	// Crashes counts the previous owners in a row that died during the operation.
	Crashes int `json:"crashes"`
	// Finished is the number of hooks that had finished before this attempt.
	Finished int `json:"finished"`
}

// probation tracks whether the operation of a run makes workers crash.
type probation struct {
	entry      journal.Entry
	limit      int           // of crashes in a row; 0 is none
	quarantine chan struct{} // holds a token while an operation is in quarantine
	marks      *progress.MarkWriter
	tracker    *progress.Tracker
	log        logrus.FieldLogger
	ctx        context.Context // of the run
	draining   context.Context

	mu      sync.Mutex
	known   bool // the records of earlier runs have been assessed
	hooks   bool // hooks may have run, here or elsewhere
	now     attempt
	timer   *time.Timer
	release func() // leaves the quarantine; nil outside of it
}

// assess counts the owners in a row that died during the operation without making progress. An
// owner counts if it died in its probation, which begins after the start of the operation. This
// worker is alive and does not count; an owner that handed over or lost its claim in good order has
// recorded that. last is the recorded attempt, or nil.
func (p *probation) assess(last *attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known {
		return
	}
	p.known = true
	p.now = attempt{Owner: p.entry.Owner, Generation: p.entry.Generation, Finished: p.tracker.FinishedHooks()}
	started, former := p.entry.State == journal.Running, 0
	switch {
	case last == nil:
		p.hooks = p.hooks || started
		if started && p.entry.Generation > 1 {
			p.now.Crashes = 1
		}
	case last.Generation != p.entry.Generation-1: // some owners do not write this mark
		p.hooks, p.now.Crashes, former = true, last.Crashes, last.Finished
	default:
		p.hooks, p.now.Crashes, former = p.hooks || last.Hooks, last.Crashes, last.Finished
		if last.Watched && last.Owner != p.entry.Owner {
			p.now.Crashes++
		}
	}
	if p.now.Finished > former {
		p.now.Crashes = 0
	}
}

// begin begins and records the probation, unless so many owners have died that the operation is not
// tried again. The last attempt is made in quarantine: if the worker dies, all its operations are
// interrupted, and only an operation that ran alone can be blamed.
func (p *probation) begin(ctx context.Context) error {
	p.mu.Lock()
	crashes := p.now.Crashes
	p.mu.Unlock()
	if p.limit > 0 && crashes >= p.limit {
		return failure.Permanent(fmt.Errorf("the operation has ended %d workers in a row without coming any further; it is not tried again", crashes))
	}
	if p.limit > 1 && crashes == p.limit-1 {
		if err := p.isolate(ctx, crashes); err != nil {
			return err
		}
	}
	if err := p.write(ctx, func(a *attempt) { a.Watched = true }); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		p.timer = time.AfterFunc(probationTime, p.survived)
	}
	return nil
}

// isolate waits until no other operation is in quarantine.
func (p *probation) isolate(ctx context.Context, crashes int) error {
	if p.release != nil {
		return nil
	}
	// The operation is not to blame if the worker dies while the operation waits.
	if err := p.write(ctx, func(*attempt) {}); err != nil {
		return err
	}
	select {
	case p.quarantine <- struct{}{}:
	default:
		p.log.Warnf("%s has ended %d workers and waits: such operations are tried one by one", p.entry.Kind, crashes)
		select {
		case p.quarantine <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.draining.Done():
			return fmt.Errorf("%s is not tried: %w", p.entry.Kind, protection.ErrHandover)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release = sync.OnceFunc(func() { <-p.quarantine })
	return nil
}

// survived ends the probation, since the worker has lived long enough or a hook has finished. The
// next operation enters the quarantine only once this is durable, since it may crash this worker.
func (p *probation) survived() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.now.Watched {
		return
	}
	p.now.Watched, p.now.Crashes = false, 0
	p.timer.Stop()
	durable := p.record()
	if p.release != nil {
		go func() {
			_ = durable(p.ctx) // a failed write ends the run
			p.release()
		}()
	}
}

// hooksStart records that hooks may run from now on. An operation that this worker has begun has no
// record, which means the same.
func (p *probation) hooksStart(ctx context.Context) error {
	p.mu.Lock()
	p.hooks = true
	known := p.known
	p.mu.Unlock()
	if !known {
		return nil
	}
	return p.write(ctx, func(*attempt) {})
}

// handOver records that this worker left the operation without a crash.
func (p *probation) handOver() {
	ctx, cancel := context.WithTimeout(p.ctx, progress.WriteTime)
	defer cancel()
	if err := p.write(ctx, func(a *attempt) {
		a.Owner, a.Generation, a.Watched, a.Finished = p.entry.Owner, p.entry.Generation, false, p.tracker.FinishedHooks()
	}); err != nil {
		p.log.Debugf("that %s was handed over is not on record: %v", p.entry.Kind, err)
	}
}

// mayHaveRun reports whether hooks may have run.
func (p *probation) mayHaveRun() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hooks
}

// write changes the attempt and waits until the change is durable.
func (p *probation) write(ctx context.Context, edit func(*attempt)) error {
	p.mu.Lock()
	edit(&p.now)
	durable := p.record()
	p.mu.Unlock()
	return durable(ctx)
}

// record starts writing the attempt and returns a function that waits for the write. The caller
// holds mu.
func (p *probation) record() (durable func(context.Context) error) {
	p.now.Hooks = p.hooks
	return p.marks.Begin(attemptMark, p.now)
}

// close releases the resources of a probation.
func (p *probation) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.release != nil {
		p.release()
	}
}
