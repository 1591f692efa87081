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

// LeaseStore keeps leases: one object an owner, which vanishes by itself when
// it is not renewed for the window that was asked for. Each call is one
// attempt on a connection of its own, so that it never waits behind data; the
// lease repeats what failed.
type LeaseStore interface {
	// Acquire writes the lease of owner, over one that may be there.
	Acquire(ctx context.Context, owner string, window time.Duration) error
	// Renew prolongs the lease of owner from now on. It fails with
	// ErrNotFound when the lease is gone.
	Renew(ctx context.Context, owner string, window time.Duration) error
	// Held tells whether any owner's lease is there.
	Held(ctx context.Context, owner string) (bool, error)
	// Release removes the lease of owner. A missing one is no error.
	Release(ctx context.Context, owner string) error
}

// ErrLeaseNotHeld reports that this owner has no lease that is good for long
// enough, so that others may already take it for dead.
var ErrLeaseNotHeld = errors.New("bank lease is not held")

// Lease tells other instances that an owner lives. It is taken at the first
// use and renewed by a goroutine until Close. It is safe for concurrent use.
//
// The time that a lease has left is counted from before the request that set
// it, by the local clock: it never ends later here than in the store.
type Lease struct {
	store   LeaseStore
	owner   string
	windows LeaseWindows
	log     logrus.FieldLogger
	tenure  *tenure.Tenure
	taken   atomic.Bool // ever
}

// Clock is the time that a lease goes by.
type Clock = tenure.Clock

// attemptTimeout bounds a request, so that a hanging one leaves time for more.
const attemptTimeout = 30 * time.Second

// NewLease returns the lease of owner, not yet taken. A zero Clock is the
// machine's, a nil log discards.
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

// request is one attempt: a renewal, or a new lease where there is none.
func (l *Lease) request(ctx context.Context, held bool) error {
	if held {
		err := l.store.Renew(ctx, l.owner, l.windows.Expire)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("renew: %w", err)
		}
		// The store dropped it early, or somebody removed it: write it again,
		// which the original never does (its renewals then fail for ever).
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

// Owner returns the identity that holds the lease.
func (l *Lease) Owner() string { return l.owner }

// Windows returns the windows that the lease goes by.
func (l *Lease) Windows() LeaseWindows { return l.windows }

// Ensure takes the lease when it has not been tried before, and waits for that
// first attempt until ctx ends. Whether it worked is what Valid tells: the
// lease goes on trying in the background.
func (l *Lease) Ensure(ctx context.Context) {
	l.tenure.Start()
	l.tenure.Tried(ctx)
}

// Valid returns nil while the lease has more than the validity window left,
// and else an error that wraps ErrLeaseNotHeld and says why.
func (l *Lease) Valid() error { return l.tenure.Valid() }

// Context returns the context of the present tenure, an unbroken time of
// holding the lease. It ends when the lease could not be renewed until less
// than the validity window was left, or was released; its cause wraps
// ErrLeaseNotHeld. A lease that is taken anew has a new one. Before the lease
// was first taken it is that of the first tenure. Close does not end it: the
// lease then runs out, and Valid tells when.
func (l *Lease) Context() context.Context { return l.tenure.Context() }

// Lost returns the channel that is closed when the present tenure ends.
func (l *Lease) Lost() <-chan struct{} { return l.tenure.Context().Done() }

// guard takes the lease if need be, and returns what a write has to ask until
// it is done. That is bound to the present tenure: a write does not go on under
// another one, when its object may be somebody else's already. It fails with
// ErrLeaseNotHeld, and with AcquireLeaseFailed for a lease that never was:
// nobody takes over the work of an owner who never had any.
func (l *Lease) guard(ctx context.Context) (valid func() error, err error) {
	l.Ensure(ctx)
	valid = l.tenure.Fence()
	err = valid()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return nil, cause // it was not waited for
	}
	if err != nil && !l.taken.Load() {
		return nil, fault.AcquireLeaseFailed(err.Error())
	}
	return valid, err
}

// Held tells whether the lease of any owner is there: its absence for longer
// than the expire window means that the owner is dead. A text that is no owner's id,
// from a checkpoint that somebody wrote by hand, has none, and the store is not asked.
func (l *Lease) Held(ctx context.Context, owner string) (bool, error) {
	if owner == "" || len(owner) > 255 || !keyCharacters(owner) || hasDotPart(owner) {
		return false, nil
	}
	return l.store.Held(ctx, owner)
}

// Release closes the lease and removes it from the store, so that others need
// not wait for its end. It is for an owner that has ended all its work.
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

// Close stops renewing and waits for the goroutine to end. It may be called
// more than once.
func (l *Lease) Close() { l.tenure.Stop() }
