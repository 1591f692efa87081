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

// probationTime is how long a worker that goes on with an operation of another is
// watched: if it dies within that time, and no hook has finished, the operation may
// be what it died of. A worker that lives longer has survived the operation.
const probationTime = 30 * time.Second

// attemptMark is the key of attempt among the marks of an entry. Workers that do
// not know it leave it alone.
const attemptMark = "attempt"

// attempt is how the latest owner fares with an operation that it took over. The
// first owner writes none unless it hands the operation over: a commit for every
// operation is too much for what hardly ever matters.
type attempt struct {
	Owner      string `json:"owner"`
	Generation int64  `json:"generation"`
	// Watched is set while the probation lasts.
	Watched bool `json:"watched"`
	// Hooks is set when hooks may have run.
	Hooks bool `json:"hooks"`
	// Crashes counts the owners in a row that the operation had ended before.
	Crashes int `json:"crashes"`
	// Finished is the number of hooks that had finished before.
	Finished int `json:"finished"`
}

// probation is what a run knows of what its operation does to workers.
type probation struct {
	entry      journal.Entry
	limit      int           // of crashes in a row; 0 is none
	quarantine chan struct{} // has a token while an operation is in it
	marks      *progress.MarkWriter
	tracker    *progress.Tracker
	log        logrus.FieldLogger
	ctx        context.Context // of the run
	draining   context.Context

	mu      sync.Mutex
	known   bool // what earlier runs have left has been looked at
	hooks   bool // hooks may have run, here or elsewhere
	now     attempt
	timer   *time.Timer
	release func() // gives the quarantine back; nil without it
}

// assess works out how many owners in a row the operation has ended without coming
// any further. An owner counts that died in its probation, which begins after the
// operation was started; this worker is not dead, and one that handed over or lost
// its claim in good order has said so. last is the attempt on record, nil without.
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
	case last.Generation != p.entry.Generation-1: // there were owners that write no such mark
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

// begin begins the probation, on record, unless the operation has ended so many
// owners that it is not tried again. The last attempt is made in quarantine: all that
// a worker does dies with it, and what is alone can be told from what was beside it.
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
	// A worker that dies while the operation waits has not died of it.
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

// survived ends the probation: the worker has lived long enough, or a hook has
// finished. The next operation enters the quarantine when that is on record: it
// may end this worker.
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
			_ = durable(p.ctx) // what could not be written ends the run
			p.release()
		}()
	}
}

// hooksStart records that hooks may run from now on. Of an operation that this worker
// has begun nothing is on record, which means the same.
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

// handOver records that this worker leaves the operation alive.
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

// write changes the attempt and waits until that is durable.
func (p *probation) write(ctx context.Context, edit func(*attempt)) error {
	p.mu.Lock()
	edit(&p.now)
	durable := p.record()
	p.mu.Unlock()
	return durable(ctx)
}

// record begins to write the attempt and returns what waits for it. The caller holds
// mu.
func (p *probation) record() (durable func(context.Context) error) {
	p.now.Hooks = p.hooks
	return p.marks.Begin(attemptMark, p.now)
}

// close gives back what a probation holds.
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
