// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers/protection"
)

// probation is how long a worker that goes on with an operation of another is
// watched: if it dies within that time, and no hook has finished, the operation may
// be what it died of. A worker that lives longer has survived the operation.
const probation = 30 * time.Second

// attemptMark is the key of attempt among the marks of an entry. Workers that do
// not know it leave it alone.
const attemptMark = "attempt"

// attempt is how the latest owner fares with an operation that it took over. The
// first owner writes none unless it hands the operation over: a commit for every
// operation is too much for what hardly ever matters.
type attempt struct {
	Owner      string `json:"owner"`
	Generation int64  `json:"generation"`
	// Watched tells that the probation has begun and not ended.
	Watched bool `json:"watched"`
	// Hooks tells that hooks may have run.
	Hooks bool `json:"hooks"`
	// Crashes counts the owners in a row that the operation had ended before.
	Crashes int `json:"crashes"`
	// Finished is the number of hooks that had finished before.
	Finished int `json:"finished"`
}

// danger is what a run knows of what its operation does to workers.
type danger struct {
	mu      sync.Mutex
	known   bool // what earlier runs have left has been looked at
	hooks   bool // hooks may have run, here or elsewhere
	now     attempt
	timer   *time.Timer // of the probation
	release func()      // gives the quarantine back; nil without it
}

// assess works out how many owners in a row the operation has ended without coming
// any further. An owner counts that died in its probation, which begins after the
// operation was started; this worker is not dead, and one that handed over or lost
// its claim in good order has said so. last is the attempt on record, nil without.
func (r *run) assess(last *attempt) {
	d := &r.danger
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known {
		return
	}
	d.known = true
	d.now = attempt{Owner: r.entry.Owner, Generation: r.entry.Generation, Finished: r.track.finishedHooks()}
	started, former := r.entry.State == journal.Running, 0
	switch {
	case last == nil:
		d.hooks = d.hooks || started
		if started && r.entry.Generation > 1 {
			d.now.Crashes = 1
		}
	case last.Generation != r.entry.Generation-1: // there were owners that write no such mark
		d.hooks, d.now.Crashes, former = true, last.Crashes, last.Finished
	default:
		d.hooks, d.now.Crashes, former = d.hooks || last.Hooks, last.Crashes, last.Finished
		if last.Watched && last.Owner != r.entry.Owner {
			d.now.Crashes++
		}
	}
	if d.now.Finished > former {
		d.now.Crashes = 0
	}
}

// watch begins the probation, on record, unless the operation has ended so many
// owners that it is not tried again. The last attempt is made in quarantine: all that
// a worker does dies with it, and what is alone can be told from what was beside it.
func (r *run) watch(ctx context.Context) error {
	limit, crashes := r.engine.CrashLimit, r.danger.crashes()
	if limit > 0 && crashes >= limit {
		return permanent(fmt.Errorf("the operation has ended %d workers in a row without coming any further; it is not tried again", crashes))
	}
	if limit > 1 && crashes == limit-1 {
		if err := r.isolate(ctx); err != nil {
			return err
		}
	}
	if err := r.danger.write(ctx, r, func(a *attempt) { a.Watched = true }); err != nil {
		return err
	}
	r.danger.mu.Lock()
	defer r.danger.mu.Unlock()
	if r.danger.timer == nil {
		r.danger.timer = time.AfterFunc(probation, r.survived)
	}
	return nil
}

// isolate waits until no other operation is in quarantine.
func (r *run) isolate(ctx context.Context) error {
	if r.danger.release != nil {
		return nil
	}
	// A worker that dies while the operation waits has not died of it.
	if err := r.danger.write(ctx, r, func(*attempt) {}); err != nil {
		return err
	}
	select {
	case r.engine.quarantine <- struct{}{}:
	default:
		r.log.Warnf("%s has ended %d workers and waits: such operations are tried one by one", r.entry.Kind, r.danger.crashes())
		select {
		case r.engine.quarantine <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.engine.draining.Done():
			return fmt.Errorf("%s is not tried: %w", r.entry.Kind, protection.ErrHandover)
		}
	}
	r.danger.mu.Lock()
	defer r.danger.mu.Unlock()
	r.danger.release = sync.OnceFunc(func() { <-r.engine.quarantine })
	return nil
}

// survived ends the probation: the worker has lived long enough, or a hook has
// finished. The next one begins when that is on record: it may end this worker.
func (r *run) survived() {
	d := &r.danger
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.now.Watched {
		return
	}
	d.now.Watched, d.now.Crashes = false, 0
	d.timer.Stop()
	done := d.set(r)
	if d.release != nil {
		go func() {
			_ = r.scribe.await(r.ctx, done) // what could not be written ends the run
			d.release()
		}()
	}
}

// hooksStart notes that hooks may run from now on. Of an operation that this worker
// has begun nothing is on record, which means the same.
func (r *run) hooksStart(ctx context.Context) error {
	r.danger.mu.Lock()
	r.danger.hooks = true
	known := r.danger.known
	r.danger.mu.Unlock()
	if !known {
		return nil
	}
	return r.danger.write(ctx, r, func(*attempt) {})
}

// handOver notes that this worker leaves the operation alive.
func (r *run) handOver() {
	d := &r.danger
	d.close()
	if !r.opened || r.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, recordTime)
	defer cancel()
	if err := d.write(ctx, r, func(a *attempt) {
		a.Owner, a.Generation, a.Watched, a.Finished = r.entry.Owner, r.entry.Generation, false, r.track.finishedHooks()
	}); err != nil {
		r.log.Debugf("that %s was handed over is not on record: %v", r.entry.Kind, err)
	}
}

func (d *danger) crashes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now.Crashes
}

// mayHaveRun tells whether hooks may have run.
func (d *danger) mayHaveRun() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hooks
}

// write changes the attempt and waits until that is durable.
func (d *danger) write(ctx context.Context, r *run, edit func(*attempt)) error {
	d.mu.Lock()
	edit(&d.now)
	done := d.set(r)
	d.mu.Unlock()
	return r.scribe.await(ctx, done)
}

// set begins to write the attempt.
func (d *danger) set(r *run) (done chan error) {
	done = make(chan error, 1)
	d.now.Hooks = d.hooks
	text, err := json.Marshal(d.now)
	if err != nil {
		done <- err
		return done
	}
	r.scribe.set(attemptMark, text, done)
	return done
}

// close gives back what a probation holds.
func (d *danger) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.release != nil {
		d.release()
	}
}
