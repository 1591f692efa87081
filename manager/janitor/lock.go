// SPDX-License-Identifier: Apache-2.0

package janitor

import (
	"context"
	"errors"
	"time"

	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/tenure"
)

// The locks in the journal. One is held for as long as a worker is the one who
// does the passes: what it has noted is of no use to others. The other is held
// while something is done, also by a repair that an operator runs.
const (
	turnLock = "janitor-turn"
	workLock = "janitor"
)

// The times of workLock.
const (
	lockHold    = 2 * time.Minute
	lockMargin  = 24 * time.Second
	lockRenew   = 40 * time.Second
	lockRetry   = 10 * time.Second
	lockTimeout = 10 * time.Second
)

var (
	errNotOurs = errors.New("the janitor's lock is not held")
	errBusy    = errors.New("another janitor is at work")
)

// enter takes workLock and gives a context in which banks can be written to for
// as long as it is held and the worker's tenure lasts. With wait it waits until
// nobody else has the lock, or ctx ends. ok is false if the lock is not held.
func (j *Janitor) enter(ctx context.Context, wait bool) (_ context.Context, end func(), ok bool) {
	t := tenure.New(tenure.Config{
		Request: func(ctx context.Context, _ bool) error {
			ours, err := j.config.Journal.Lock(ctx, workLock, j.config.Owner, lockHold)
			if err == nil && !ours {
				err = errBusy
			}
			return err
		},
		Err:  errNotOurs,
		Hold: lockHold, Margin: lockMargin, Renew: lockRenew, Retry: lockRetry, Timeout: lockTimeout,
	})
	leave := func() {
		t.End("the work is done")
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
		defer cancel()
		if err := j.config.Journal.Unlock(ctx, workLock, j.config.Owner); err != nil {
			j.config.Log.Debugf("give the janitor's lock back: %v", err)
		}
	}
	t.Start()
	t.Tried(ctx)
	err := t.Valid()
	if err != nil && wait {
		err = t.Await(ctx)
	}
	if err != nil {
		j.config.Log.Debugf("the janitor does nothing: %v", err)
		leave()
		return ctx, nil, false
	}
	held, fence := t.Present()
	work, cancel := context.WithCancelCause(guard.With(ctx, fence))
	untie := []func() bool{context.AfterFunc(held, func() { cancel(context.Cause(held)) })}
	if own := j.config.Tenure; own != nil {
		lasts := own.Context()
		work = guard.With(work, own.Fence())
		untie = append(untie, context.AfterFunc(lasts, func() { cancel(context.Cause(lasts)) }))
	}
	return work, func() {
		for _, f := range untie {
			f()
		}
		cancel(nil)
		leave()
	}, true
}
