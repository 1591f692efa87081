// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/pkg/tenure"
)

// LeaseStore keeps leases: one object for each owner, which vanishes by itself unless it is renewed
// within the window that was asked for. Each call is one attempt on a connection of its own, so
// that it never waits behind data; Lease retries.
type LeaseStore interface {
	// Acquire writes the lease of owner, replacing an existing one.
	Acquire(ctx context.Context, owner string, window time.Duration) error
	// Renew prolongs the lease of owner from now on. It fails with ErrNotFound if the lease is
	// gone.
	Renew(ctx context.Context, owner string, window time.Duration) error
	// Held reports whether the lease of owner, which may be any instance, exists.
	Held(ctx context.Context, owner string) (bool, error)
	// Release removes the lease of owner. A missing lease is not an error.
	Release(ctx context.Context, owner string) error
}

// ErrLeaseNotHeld reports that this owner has no lease that is valid for long enough, so that
// others may already consider it dead.
var ErrLeaseNotHeld = errors.New("bank lease is not held")

// Lease tells other instances that an owner is alive. The first use takes the lease, and a
// goroutine renews it until Close. It is safe for concurrent use.
//
// The remaining time of the lease is measured by the local clock, from before the request that set
// it: the lease never ends later here than in the store.
type Lease struct {
	store   LeaseStore
	owner   string
	windows LeaseWindows
	log     logrus.FieldLogger
	tenure  *tenure.Tenure
	taken   atomic.Bool // whether the lease was ever taken
}

// Clock is the clock of a lease.
type Clock = tenure.Clock

// attemptTimeout bounds a request, so that one that hangs leaves time for others.
const attemptTimeout = 30 * time.Second

// NewLease returns the lease of owner, not yet taken. A zero Clock is the machine's; a nil log
// discards.
func NewLease(store LeaseStore, owner string, w LeaseWindows, clock Clock, log logrus.FieldLogger) *Lease {
	log = telemetry.OrDiscard(log).WithField("owner_id", owner)
	usable, advice := w.usable()
	if advice != "" {
		log.Warnf("lease windows do not fit together, using other ones: %s", advice)
	}
	l := &Lease{store: store, owner: owner, windows: usable, log: log}
	l.tenure = tenure.New(tenure.Config{
		Request: l.request,
		Err:     fmt.Errorf("owner %s: %w", owner, ErrLeaseNotHeld),
		Hold:    usable.Expire, Margin: usable.Validity,
		Renew:   usable.Renew,
		Retry:   max(usable.Renew/8, min(time.Second, usable.Renew)),
		Timeout: min(usable.Renew, attemptTimeout), Patience: attemptTimeout,
		Clock:  clock,
		Failed: func(err error) { log.WithError(err).Warn("cannot keep the bank lease, trying again") },
		Began:  l.began,
		Lost:   func() { log.Error("lost the bank lease: it could not be renewed in time") },
	})
	return l
}

// request makes one attempt: it renews the lease, or takes a new one if there is none.
func (l *Lease) request(ctx context.Context, held bool) error {
	if held {
		err := l.store.Renew(ctx, l.owner, l.windows.Expire)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("renew: %w", err)
		}
		// The store dropped the lease early, or somebody removed it. Write it again; the original
		// never does, and its renewals then fail for ever.
	}
	if err := l.store.Acquire(ctx, l.owner, l.windows.Expire); err != nil {
		return fmt.Errorf("acquire: %w", err)
	}
	l.taken.Store(true)
	return nil
}

func (l *Lease) began(again bool) {
	if again {
		l.log.Info("took the bank lease anew")
	}
}

// Owner returns the id of the lease's owner.
func (l *Lease) Owner() string { return l.owner }

// Windows returns the time windows of the lease.
func (l *Lease) Windows() LeaseWindows { return l.windows }

// Ensure takes the lease unless that has been tried before, and waits for the first attempt until
// ctx ends. Valid reports the result; the lease keeps trying in the background.
func (l *Lease) Ensure(ctx context.Context) {
	l.tenure.Start()
	l.tenure.Tried(ctx)
}

// Valid returns nil while the lease has more than the validity window left. Otherwise it returns an
// error that wraps ErrLeaseNotHeld and says why.
func (l *Lease) Valid() error { return l.tenure.Valid() }

// Context returns the context of the current tenure, an unbroken period of holding the lease. The
// context ends when the lease was released, or was not renewed before its remaining time fell below
// the validity window; its cause wraps ErrLeaseNotHeld. A lease that is taken again begins a new
// tenure with a new context. Before the lease is first taken, Context returns the context of the
// first tenure. Close does not end the context: the lease then expires, and Valid reports when.
func (l *Lease) Context() context.Context { return l.tenure.Context() }

// Lost returns a channel that is closed when the current tenure ends.
func (l *Lease) Lost() <-chan struct{} { return l.tenure.Context().Done() }

// guard takes the lease if necessary and returns the function that a write asks until it is done.
// The function is bound to the current tenure: a write must not continue under a later tenure, when
// its object may already belong to another owner. guard fails with ErrLeaseNotHeld, or with
// AcquireLeaseFailed if the lease was never held: nobody takes over the work of an owner that never
// had a lease.
func (l *Lease) guard(ctx context.Context) (valid func() error, err error) {
	l.Ensure(ctx)
	valid = l.tenure.Fence()
	err = valid()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return nil, cause // the first attempt has not ended
	}
	if err != nil && !l.taken.Load() {
		return nil, fault.AcquireLeaseFailed(err.Error())
	}
	return valid, err
}

// Held reports whether the lease of an owner exists. If it is absent for longer than the expire
// window, the owner is dead. A text that is not an owner's id, from a checkpoint that was written
// by hand, has no lease, and the store is not asked.
func (l *Lease) Held(ctx context.Context, owner string) (bool, error) {
	if owner == "" || len(owner) > 255 || !keyCharacters(owner) || hasDotPart(owner) {
		return false, nil
	}
	return l.store.Held(ctx, owner)
}

// Release closes the lease and removes it from the store, so that others need not wait for it to
// expire. It is for an owner that has ended all its work.
func (l *Lease) Release(ctx context.Context) error {
	started := l.tenure.Started()
	l.tenure.End("it was given back")
	if !started {
		return nil
	}
	if err := l.store.Release(ctx, l.owner); err != nil {
		return fmt.Errorf("release bank lease of owner %s: %w", l.owner, err)
	}
	return nil
}

// Close stops renewing and waits for the goroutine to end. It may be called repeatedly.
func (l *Lease) Close() { l.tenure.Stop() }
