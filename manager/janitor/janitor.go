// SPDX-License-Identifier: Apache-2.0

// Package janitor repairs banks and cleans up the journal. It ends checkpoints that nobody will
// resume, repairs the indices, removes data that belong to no checkpoint, drops operations that
// ended long ago, and optionally removes what is left of deleted checkpoints.
//
// Banks are only eventually consistent, and an operation may begin at any time. An issue is
// therefore only noted at first, and is repaired when it still exists after a grace period. Each
// repair reads the bank again right before it.
package janitor

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/pkg/tenure"
	"github.com/karbor-project/karbor/providers"
)

// Judge reports whether an operation is working on a checkpoint.
type Judge interface {
	Abandonment(ctx context.Context, p *providers.Provider, checkpointID, owner string) (operation.Abandonment, error)
}

// Records are the tables that tell users about operations.
type Records interface {
	CloseOperationLogs(ctx context.Context, checkpointID, operationType, status, errorInfo string, ended time.Time) (int, error)
}

// Journal is the part of a journal.Journal that a janitor needs.
type Journal interface {
	List(ctx context.Context, f journal.Filter) ([]journal.Entry, error)
	Lock(ctx context.Context, name, owner string, hold time.Duration) (bool, error)
	Unlock(ctx context.Context, name, owner string) error
	Prune(ctx context.Context, endedBefore time.Time) (int, error)
}

// Config of a Janitor. Providers, Journal, Judge and Records are required.
type Config struct {
	Providers []*providers.Provider
	Journal   Journal
	Judge     Judge
	Records   Records

	// Tenure is the tenure of the worker, without which the janitor does nothing. Nil means one
	// that never ends.
	Tenure operation.Tenure
	// Owner is the id that holds the locks; empty means a new one.
	Owner string

	Interval  time.Duration // approximate time between passes; 0: Start does nothing
	Retention time.Duration // of operations that have ended; 0: 7 days
	// Tombstones is the time from its creation during which a deleted checkpoint is still shown; 0
	// means forever.
	Tombstones time.Duration

	// RemoveOrphans allows the removal of entries and data without an index.json. Otherwise they
	// are reported and kept, since a missing index.json may come back.
	RemoveOrphans bool

	// For tests; nil means the real ones.
	Now    func() time.Time
	Jitter func(time.Duration) time.Duration // adds at most a quarter
	Log    logrus.FieldLogger
}

// Janitor maintains the banks of some providers. Only one janitor is active for each journal.
type Janitor struct {
	config Config

	ctx     context.Context // cancelled by Stop
	stop    context.CancelFunc
	started bool
	done    chan struct{}

	marks   map[string]marks // by provider; used only by the working goroutine
	orphans atomic.Int64     // as of the last pass
}

// firstPass is the latest start of the first pass after Start, since a worker that has just started
// is busy with other work.
const firstPass = time.Minute

// stopTime bounds the call that releases the lock. If the call fails, others wait until the lock
// expires.
const stopTime = 5 * time.Second

// New returns a janitor that is not started.
func New(c Config) *Janitor {
	if c.Owner == "" {
		c.Owner = uuid.NewString()
	}
	if c.Retention <= 0 {
		c.Retention = defaultRetention
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Jitter == nil {
		c.Jitter = func(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
	}
	c.Log = telemetry.OrDiscard(c.Log)
	j := &Janitor{config: c, done: make(chan struct{}), marks: map[string]marks{}}
	j.ctx, j.stop = context.WithCancel(context.Background())
	return j
}

// Start begins the passes. It is called once, and before Stop.
func (j *Janitor) Start() {
	if j.config.Interval > 0 {
		j.started = true
		go j.run()
	}
}

// Stop interrupts the current pass and releases the lock, for which it takes a short time even if
// ctx has ended. It may be called repeatedly.
func (j *Janitor) Stop(ctx context.Context) {
	j.stop()
	if !j.started {
		return
	}
	<-j.done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := j.config.Journal.Unlock(ctx, turnLock, j.config.Owner); err != nil {
		j.config.Log.Debugf("give the janitor's turn back: %v", err)
	}
	j.started = false
}

func (j *Janitor) run() {
	defer close(j.done)
	pause := min(firstPass, j.config.Interval)
	for {
		timer := time.NewTimer(j.config.Jitter(pause))
		select {
		case <-timer.C:
		case <-j.ctx.Done():
			timer.Stop()
			return
		}
		j.turn()
		pause = j.config.Interval
	}
}

// turn runs one pass, if this worker holds the lock of passes.
func (j *Janitor) turn() {
	ours, err := j.config.Journal.Lock(j.ctx, turnLock, j.config.Owner, j.config.Interval*3/2)
	if err != nil && j.ctx.Err() == nil {
		j.config.Log.Warnf("the janitor does not know whether it is its turn: %v", err)
	}
	if err != nil || !ours {
		clear(j.marks) // the marks miss what changed while another worker ran the passes
		return
	}
	ctx, end, ok := j.enter(j.ctx, false)
	if !ok {
		return
	}
	defer end()
	j.pass(ctx)
}

// The locks in the journal. A worker holds the first as long as it runs the passes, since its notes
// are useless to others. The second is held during actual work, including a repair that an operator
// starts.
const (
	turnLock = "janitor-turn"
	workLock = "janitor"
)

// The durations of workLock.
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

// enter takes workLock and returns a context in which banks may be written to while the lock is
// held and the worker's tenure lasts. With wait, enter waits for the lock until ctx ends. ok is
// false if the lock is not held.
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
	detach := []func() bool{context.AfterFunc(held, func() { cancel(context.Cause(held)) })}
	if own := j.config.Tenure; own != nil {
		lasts := own.Context()
		work = guard.With(work, own.Fence())
		detach = append(detach, context.AfterFunc(lasts, func() { cancel(context.Cause(lasts)) }))
	}
	return work, func() {
		for _, f := range detach {
			f()
		}
		cancel(nil)
		leave()
	}, true
}
