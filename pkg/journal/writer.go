// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karbor-project/karbor/pkg/database"
)

// batchBytes bounds what the writes of one commit set.
const batchBytes = 8 << 20

// writer gathers the writes that come while a commit is under way: the next
// one is for all of them.
type writer struct {
	db  *database.DB
	max int // writes of a commit

	mu      sync.Mutex
	queue   []*write
	running bool
	idle    sync.WaitGroup // for the goroutine there is while something waits
	stats   Stats
}

// write is one call of Write.
type write struct {
	ctx   context.Context
	id    string
	claim Claim
	marks []Mark
	size  int
	done  chan error
}

// Stats are figures of a journal since it was opened.
type Stats struct {
	Commits int64 // of Write calls
	Writes  int64 // Write calls that were committed
	Marks   int64 // marks in them
	Failed  int64 // Write calls that failed in any way, also by ErrClaim

	Waiting      int           // Write calls that wait for their commit to begin
	LastDuration time.Duration // of the last commit with all repetitions
}

// Stats returns the figures of now.
func (j *SQL) Stats() Stats {
	j.writer.mu.Lock()
	defer j.writer.mu.Unlock()
	s := j.writer.stats
	s.Waiting = len(j.writer.queue)
	return s
}

func newWriter(db *database.DB, most int) *writer { return &writer{db: db, max: most} }

// Write implements Journal. A call whose context ends while its commit is
// under way returns at once, and the write may happen.
func (j *SQL) Write(ctx context.Context, id string, c Claim, marks ...Mark) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.leave()
	if err := checkMarks(id, marks); err != nil {
		return err
	}
	w := &write{ctx: ctx, id: id, claim: c, done: make(chan error, 1)}
	for _, m := range marks { // the caller may go before the writer has read them
		w.marks = append(w.marks, Mark{Key: m.Key, Value: slices.Clone(m.Value)})
		w.size += len(m.Key) + len(m.Value)
	}
	j.writer.add(w)
	select {
	case err := <-w.done:
		return named(err, "write to operation", id)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *writer) add(call *write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, call)
	if !w.running {
		w.running = true
		w.idle.Go(w.run)
	}
}

// wait returns when nothing is under way. Nothing may be added any more.
func (w *writer) wait() { w.idle.Wait() }

func (w *writer) run() {
	for {
		batch := w.take()
		if batch == nil {
			return
		}
		start := time.Now()
		errs, commits := w.commit(batch)
		w.count(batch, errs, commits, time.Since(start))
		for i, call := range batch {
			call.done <- errs[i]
		}
	}
}

// take returns the next writes, nil at the end of the work.
func (w *writer) take() []*write {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = slices.DeleteFunc(w.queue, func(c *write) bool { return c.ctx.Err() != nil })
	if len(w.queue) == 0 {
		w.queue, w.running = nil, false
		return nil
	}
	n, size := 0, 0
	for n < len(w.queue) && n < w.max && (n == 0 || size+w.queue[n].size <= batchBytes) {
		size += w.queue[n].size
		n++
	}
	batch := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	return batch
}

func (w *writer) count(batch []*write, errs []error, commits int64, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Commits += commits
	w.stats.LastDuration = took
	for i, call := range batch {
		if errs[i] != nil {
			w.stats.Failed++
			continue
		}
		w.stats.Writes++
		w.stats.Marks += int64(len(call.marks))
	}
}

// commit writes a batch and returns the result of each write. What the
// database refuses is tried one by one: only the culprit shall fail.
func (w *writer) commit(batch []*write) (errs []error, commits int64) {
	ctx, cancel := together(batch)
	defer cancel()
	err := w.db.Transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
		errs, err = apply(ctx, tx, batch)
		return err
	})
	switch {
	case err == nil:
		return errs, 1
	case len(batch) == 1 || ctx.Err() != nil || w.db.Transient(err):
		return slices.Repeat([]error{err}, len(batch)), 0
	}
	errs = make([]error, len(batch))
	for i := range batch {
		one, n := w.commit(batch[i : i+1])
		errs[i], commits = one[0], commits+n
	}
	return errs, commits
}

// together is a context that ends when those of all writes have ended.
func together(batch []*write) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := make([]func() bool, len(batch))
	for i, call := range batch {
		stops[i] = context.AfterFunc(call.ctx, func() {
			if left.Add(-1) == 0 {
				cancel(fmt.Errorf("nobody waits for the write: %w", context.Cause(call.ctx)))
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}
