// SPDX-License-Identifier: Apache-2.0

package database

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Retry states how a call is repeated when the database is unreachable or another
// transaction conflicts.
type Retry struct {
	// Max is the maximum number of repetitions; below zero only the context ends the
	// call.
	Max int
	// Interval is the wait before the first repetition after a lost connection. It
	// doubles each time up to MaxInterval. After a deadlock or a lock timeout the waits
	// begin at a fiftieth of Interval.
	Interval    time.Duration
	MaxInterval time.Duration
	// Attempt bounds one attempt, so that a server that has vanished silently is
	// noticed; zero means no bound. An engine's own lock timeout should be shorter.
	Attempt time.Duration
	// Jitter returns a number in [0, 1) that shortens a wait by up to half; nil means
	// random.
	Jitter func() float64
}

// DefaultRetry retries for about three minutes.
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

// errAttempt replaces the error of an attempt that exceeded its time, because drivers
// report a timeout in many ways.
var errAttempt = errors.New("no answer in time")
