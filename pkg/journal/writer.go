// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karbor-project/karbor/pkg/database"
)

// batchBytes bounds the bytes that the writes of one commit set.
const batchBytes = 8 << 20

// writer collects the writes that arrive during a commit: the next commit includes them
// all.
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

func newWriter(db *database.DB, most int) *writer { return &writer{db: db, max: most} }

func (w *writer) add(call *write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, call)
	if !w.running {
		w.running = true
		w.idle.Go(w.run)
	}
}

// wait returns when no write is running. No write may be added after that.
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

// take returns the next writes, nil when the writer is closed.
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

// commit writes a batch and returns the result of each write. If the database refuses
// the batch, the writes are tried one by one, so that only the cause fails.
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

// together returns a context that ends when the contexts of all writes have ended.
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

// Bounds of one statement: rows because of the placeholders, bytes if the server allows
// as many.
const (
	statementRows  = 300
	statementBytes = 1 << 20
)

// apply writes a batch in a transaction and returns the result of each write: nil or
// ErrClaim.
func apply(ctx context.Context, tx database.Tx, batch []*write) ([]error, error) {
	claims, err := lockClaims(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	type place struct{ id, key string }
	last := map[place][]byte{} // of several marks at one place, the last counts
	errs := make([]error, len(batch))
	for i, w := range batch {
		if c, open := claims[w.id]; !open || c != w.claim {
			errs[i] = ErrClaim
			continue
		}
		for _, m := range w.marks {
			last[place{w.id, m.Key}] = m.Value
		}
	}
	// All workers use one order, so that they do not deadlock.
	places := slices.SortedFunc(maps.Keys(last), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.key, b.key))
	})
	total := 0
	for p, value := range last {
		total += len(p.key) + len(value)
	}
	room, err := tx.Room(ctx, min(total, statementBytes))
	if err != nil {
		return nil, err
	}
	set, unset := statement{room: room}, statement{room: room}
	for _, p := range places {
		if value := last[p]; len(value) > 0 {
			err = set.add(ctx, tx, upsertMarks, len(value), p.id, []byte(p.key), value)
		} else {
			err = unset.add(ctx, tx, deleteMarks, len(p.key), p.id, []byte(p.key))
		}
		if err != nil {
			return nil, err
		}
	}
	if err := set.run(ctx, tx, upsertMarks); err != nil {
		return nil, err
	}
	return errs, unset.run(ctx, tx, deleteMarks)
}

// lockClaims locks the entries of a batch, so that no worker adopts or ends them before
// the commit, and returns the claims of the unfinished ones.
func lockClaims(ctx context.Context, tx database.Tx, batch []*write) (map[string]Claim, error) {
	ids := map[string]bool{}
	for _, w := range batch {
		if storable(w.id) {
			ids[w.id] = true
		}
	}
	claims := map[string]Claim{}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(ids)), statementRows) {
		args := []any{string(Ended)}
		for _, id := range part {
			args = append(args, id)
		}
		open := "state <> ? AND id IN (?" + strings.Repeat(", ?", len(part)-1) + ")"
		if err := tx.Hold(ctx, "protection_operations", open, args...); err != nil {
			return nil, err
		}
		if err := readClaims(ctx, tx, claims, "SELECT id, owner, generation FROM protection_operations WHERE "+open, args); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

func readClaims(ctx context.Context, tx database.Tx, claims map[string]Claim, query string, args []any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var c Claim
		if err := rows.Scan(&id, &c.Owner, &c.Generation); err != nil {
			return err
		}
		claims[id] = c
	}
	return rows.Err()
}

func upsertMarks(tx database.Tx, rows int) string {
	return "INSERT INTO protection_marks (operation, mark, document) VALUES (?, ?, ?)" + strings.Repeat(", (?, ?, ?)", rows-1) +
		tx.OnConflict([]string{"operation", "mark"}, "document")
}

func deleteMarks(_ database.Tx, rows int) string {
	return "DELETE FROM protection_marks WHERE (operation = ? AND mark = ?)" + strings.Repeat(" OR (operation = ? AND mark = ?)", rows-1)
}

// statement collects rows until one statement is full.
type statement struct {
	args []any
	rows int
	size int
	room int // of size
}

// add adds a row. If there is no room, the collected rows are written first.
func (s *statement) add(ctx context.Context, tx database.Tx, text func(database.Tx, int) string, size int, row ...any) error {
	if s.rows > 0 && (s.rows == statementRows || s.size+size > s.room) {
		if err := s.run(ctx, tx, text); err != nil {
			return err
		}
	}
	s.args, s.rows, s.size = append(s.args, row...), s.rows+1, s.size+size
	return nil
}

func (s *statement) run(ctx context.Context, tx database.Tx, text func(database.Tx, int) string) error {
	if s.rows == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, text(tx, s.rows), s.args...)
	*s = statement{room: s.room}
	return err
}
