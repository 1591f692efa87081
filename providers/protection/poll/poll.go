// SPDX-License-Identifier: Apache-2.0

// Package poll waits for resources of a cloud to reach a status: Until looks at
// one by itself, a Batch at many with one listing.
//
// Every wait is a safe point: a worker that is about to stop breaks it off, with
// an error that wraps protection.ErrHandover. The hook returns that error and
// leaves all in its place; the next run of the hook waits again.
package poll

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/karbor-project/karbor/providers/protection"
)

// NotFound is the status of a resource that is gone, in place of what its
// service calls it. karbor: services/protection/protection_plugins/utils.py
const NotFound = "not-found"

// ErrDeadline is in the chain of the error after Options.Timeout.
var ErrDeadline = errors.New("the deadline of the poll has passed")

// errDraining is how a wait ends in a worker that is about to stop.
var errDraining = fmt.Errorf("waiting is broken off, the worker stops: %w", protection.ErrHandover)

// Statuses sorts what a resource may be in while one waits for it.
type Statuses struct {
	Success []string
	Failure []string
	Ignore  []string // go on waiting
	// IgnoreUnexpected goes on waiting for a status in none of the lists, which
	// otherwise ends the wait with an error.
	IgnoreUnexpected bool
}

// Options tune a wait. The zero value polls without a pause and for ever.
type Options struct {
	// Interval lies between the starts of two looks, give or take a tenth, so
	// that many resources do not ask at once.
	Interval time.Duration
	// Timeout ends the wait with ErrDeadline; 0 is never.
	Timeout time.Duration
	// Transient tells errors of a look that the next look may not have. Up to
	// Patience of them in a row are passed over. Nil passes none over.
	Transient func(error) bool
	Patience  int

	// Sleep, Now and Jitter are for tests; nil is the real ones.
	Sleep  func(context.Context, time.Duration) error
	Now    func() time.Time
	Jitter func(time.Duration) time.Duration
}

// passOver reports whether the next look may be without err. failures is how many
// there were in a row before.
func (o *Options) passOver(err error, failures int) bool {
	return o.Transient != nil && o.Transient(err) && failures < o.Patience
}

// StatusError is the end of a wait in a wrong status.
type StatusError struct {
	Status string
	// Expected reports that the status was one of Statuses.Failure.
	Expected bool
}

// Error names the status.
func (e *StatusError) Error() string {
	if e.Expected {
		return "the status is " + e.Status
	}
	return "the status is unexpectedly " + e.Status
}

// Until looks at once and then in each interval, until the status is one of
// Success: then it returns nil. Otherwise its error is a *StatusError, ErrDeadline,
// the cause of ctx, the error of a look, or protection.ErrHandover when
// protection.Draining tells that the worker stops: a look that has begun is
// finished first, and decides if it can. A look that sees how far the resource is
// reports it itself.
func Until(ctx context.Context, o Options, statuses Statuses, look func(context.Context) (string, error)) error {
	o.fill()
	began := o.Now()
	failures := 0
	for {
		looked := o.Now()
		status, err := look(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !o.passOver(err, failures):
			return err
		case err != nil:
			failures++
		default:
			failures = 0
			if done, err := statuses.judge(status); done {
				return err
			}
		}
		select {
		case <-protection.Draining(ctx):
			return errDraining
		default:
		}
		wait := max(0, o.Jitter(o.Interval)-o.Now().Sub(looked))
		if o.Timeout > 0 && o.Now().Sub(began)+wait > o.Timeout {
			return fmt.Errorf("status %s after %s: %w", status, o.Now().Sub(began).Round(time.Second), ErrDeadline)
		}
		if err := o.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (s Statuses) judge(status string) (done bool, err error) {
	switch {
	case slices.Contains(s.Success, status):
		return true, nil
	case slices.Contains(s.Failure, status):
		return true, &StatusError{Status: status, Expected: true}
	case slices.Contains(s.Ignore, status), s.IgnoreUnexpected:
		return false, nil
	}
	return true, &StatusError{Status: status}
}

func (o *Options) fill() {
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = tenth
	}
}

// tenth moves d by up to a tenth either way.
func tenth(d time.Duration) time.Duration {
	if d < 10 {
		return d
	}
	return d - d/10 + rand.N(d/5+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-protection.Draining(ctx):
		return errDraining
	}
}
