// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/database"
)

// Options of a journal in a database. The zero value is usable.
type Options struct {
	// Clock gives the times of entries; nil means time.Now. Announcements and
	// locks go by the database's.
	Clock func() time.Time

	// NewToken makes the mark by which a call knows its own work again when
	// it is repeated after a commit whose answer was lost; nil means a random
	// UUID. Tokens are never the same.
	NewToken func() string

	// Batch is how many Write calls share a commit at most; zero means 256.
	Batch int
}

// SQL is a journal in a database, which it shares with others: other workers,
// and karbor's own tables.
type SQL struct {
	db      *database.DB
	options Options
	writer  *writer

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

var _ Journal = (*SQL)(nil)

// Open prepares a journal in a database; it does not connect. The tables are
// there after Sync. Close ends the journal and leaves the database open.
func Open(db *database.DB, o Options) *SQL {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.NewToken == nil {
		o.NewToken = uuid.NewString
	}
	if o.Batch == 0 {
		o.Batch = 256
	}
	return &SQL{db: db, options: o, writer: newWriter(db, o.Batch)}
}

// enter begins a call, which ends with leave.
func (j *SQL) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	j.calls.Add(1)
	return nil
}

func (j *SQL) leave() { j.calls.Done() }

// transact runs f as the one transaction of a call.
func (j *SQL) transact(ctx context.Context, f func(context.Context, database.Tx) error) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.leave()
	return j.db.Transact(ctx, f)
}

// Close implements Journal.
func (j *SQL) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.calls.Wait()
	j.writer.wait()
	return nil
}
