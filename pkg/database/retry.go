// SPDX-License-Identifier: Apache-2.0

package database

import (
	"errors"
	"math/rand/v2"
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
