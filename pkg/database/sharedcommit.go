// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"sync"
)

// sharedCommits combines transactions into one commit, for an engine with one writer:
// transactions that arrive while one is running join it. They do not notice each other,
// since each runs alone from its first statement to its last, and none is reported as
// done before all are durable.
type sharedCommits struct {
	pool *sql.DB

	mu      sync.Mutex
	queue   []*member
	running bool
}

// member is one of the transactions in a commit.
type member struct {
	ctx  context.Context
	f    func(context.Context, *sql.Tx) error
	err  error
	done chan struct{}
}

// commitSize bounds the transactions of one commit, because other processes wait for
// the database too.
const commitSize = 64

// do runs f in a transaction. If the context ends before f has begun, do returns at once;
// otherwise it waits for f, which may write to the caller's variables.
func (s *sharedCommits) do(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	m := &member{ctx: ctx, f: f, done: make(chan struct{})}
	s.mu.Lock()
	s.queue = append(s.queue, m)
	if !s.running {
		s.running = true
		go s.run()
	}
	s.mu.Unlock()
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
	}
	if s.leave(m) {
		return context.Cause(ctx)
	}
	<-m.done
	return m.err
}

// leave removes a member from the queue and reports whether the member was queued.
func (s *sharedCommits) leave(m *member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.queue, m)
	if at >= 0 {
		s.queue = slices.Delete(s.queue, at, at+1)
	}
	return at >= 0
}

// next removes the first member from the queue, nil if the queue is empty.
func (s *sharedCommits) next() *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	m := s.queue[0]
	s.queue = slices.Delete(s.queue, 0, 1)
	return m
}

// run commits until the queue is empty.
func (s *sharedCommits) run() {
	for {
		tx, err := s.pool.BeginTx(context.Background(), nil)
		members := s.together(tx, err)
		for _, m := range members {
			close(m.done)
		}
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// together runs the members of one commit and returns them with their results. If the
// commit fails, every member fails, because a member may have read the writes of
// another.
func (s *sharedCommits) together(tx *sql.Tx, err error) (members []*member) {
	if err != nil {
		for m := s.next(); m != nil; m = s.next() {
			m.err = err
			members = append(members, m)
		}
		return members
	}
	whole := true
	for whole && len(members) < commitSize {
		m := s.next()
		if m == nil {
			break
		}
		members = append(members, m)
		if len(members) == 1 { // it needs no savepoint: nobody else is in the transaction yet
			m.err = m.f(m.ctx, tx)
			whole = m.err == nil
		} else {
			whole, m.err = within(tx, m)
		}
	}
	switch {
	case len(members) == 0, !whole && len(members) == 1:
		_ = tx.Rollback()
		return members
	case !whole:
		_ = tx.Rollback()
		err = driver.ErrBadConn // the others try again
	default:
		err = tx.Commit()
	}
	for i, m := range members {
		if err != nil && (whole || i < len(members)-1) {
			m.err = err
		}
	}
	return members
}

// within runs a member so that a failed member leaves no changes. whole reports
// whether the transaction can go on: the engine rolls all of it back when, for example, a
// statement is interrupted.
func within(tx *sql.Tx, m *member) (whole bool, err error) {
	ctx := context.Background()
	if _, err := tx.ExecContext(ctx, "SAVEPOINT member"); err != nil {
		return false, err
	}
	if err = m.f(m.ctx, tx); err != nil {
		if _, failed := tx.ExecContext(ctx, "ROLLBACK TO member"); failed != nil {
			return false, err
		}
	}
	if _, failed := tx.ExecContext(ctx, "RELEASE member"); failed != nil {
		return false, cmp.Or(err, failed)
	}
	return true, err
}
