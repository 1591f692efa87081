// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

// Retry says how a call goes on when the database cannot be reached, or
// another transaction was in its way.
type Retry struct {
	// Max is how often a call is repeated; below zero there is no bound but
	// the context's.
	Max int
	// Interval is the wait before the first repetition after a lost
	// connection. It doubles each time up to MaxInterval. After a deadlock or
	// a lock timeout the waits begin at a fiftieth of it.
	Interval    time.Duration
	MaxInterval time.Duration
	// Attempt bounds one attempt, so that a server that has gone without a
	// word is noticed; zero is no bound. An engine's own lock timeout should
	// be shorter.
	Attempt time.Duration
	// Jitter gives a number in [0, 1) by which a wait is shortened, up to
	// half; nil means random.
	Jitter func() float64
}

// DefaultRetry goes on for about three minutes.
//
// oslo.db: db_max_retries 20, db_retry_interval 1, db_max_retry_interval 10
func DefaultRetry() Retry {
	return Retry{Max: 20, Interval: time.Second, MaxInterval: 10 * time.Second, Attempt: time.Minute}
}

// wait returns how long to wait before repetition n, from 0.
func (r *Retry) wait(n int, c class) time.Duration {
	d := r.Interval
	if c == conflict {
		d /= 50
	}
	for range n {
		if d >= r.MaxInterval {
			break
		}
		d *= 2
	}
	jitter := r.Jitter
	if jitter == nil {
		jitter = rand.Float64
	}
	d = min(d, r.MaxInterval)
	return d - time.Duration(jitter()*float64(d)/2)
}

// errAttempt marks what an attempt came to that took too long, for drivers
// report that in many ways.
var errAttempt = errors.New("no answer in time")

// classify adds what all drivers have in common: the ways of losing a
// connection.
func (db *DB) classify(err error) class {
	if errors.Is(err, errAttempt) {
		return unreachable
	}
	if c := db.dialect.classify(err); c != unknown {
		return c
	}
	var network net.Error
	switch {
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.As(err, &network):
		return unreachable
	}
	return permanent
}

// do runs f in a transaction, again and again as Options.Retry says. f must
// bear being repeated after a commit whose answer was lost.
func (db *DB) do(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	return db.doWith(ctx, nil, f)
}

func (db *DB) doWith(ctx context.Context, o *sql.TxOptions, f func(context.Context, *sql.Tx) error) error {
	retry, renewed := db.options.Retry, false
	for n := 0; ; n++ {
		err := db.attempt(ctx, o, f)
		if err == nil {
			db.outage.end()
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		c := db.classify(err)
		if c == unreachable {
			db.outage.begin(err)
		}
		if c != unreachable && c != conflict || retry.Max >= 0 && n >= retry.Max {
			if c == denied && !renewed && db.dialect.renew(db.pool, db.options) {
				renewed = true // rights may have been given since
				continue
			}
			return asRefusal(err, c)
		}
		if !sleep(ctx, retry.wait(n, c)) {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// attempt runs f in one transaction, in limited time.
func (db *DB) attempt(ctx context.Context, o *sql.TxOptions, f func(context.Context, *sql.Tx) error) error {
	if limit := db.options.Retry.Attempt; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errAttempt)
		defer cancel()
	}
	err := db.transaction(ctx, o, f)
	if err != nil && errors.Is(context.Cause(ctx), errAttempt) {
		return fmt.Errorf("%w: %w", errAttempt, err)
	}
	return err
}

func (db *DB) transaction(ctx context.Context, o *sql.TxOptions, f func(context.Context, *sql.Tx) error) error {
	tx, err := db.pool.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	if err := f(ctx, tx); err != nil {
		_ = tx.Rollback() // the failure of f says more
		return err
	}
	return tx.Commit()
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
