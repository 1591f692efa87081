// SPDX-License-Identifier: Apache-2.0

// Package janitor repairs banks and clears the journal: it ends checkpoints that
// nobody will go on with, mends the indices, removes data that belong to no
// checkpoint, and drops operations that ended long ago and, if it is told to, what is
// left of deleted checkpoints.
//
// Banks are only eventually consistent, and an operation may begin at any time.
// So what looks wrong is merely noted; only what still looks so after a grace is
// mended, and each repair reads again right before it.
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

// Judge reports whether anybody is at work on a checkpoint.
type Judge interface {
	Abandonment(ctx context.Context, p *providers.Provider, checkpointID, owner string) (operation.Abandonment, error)
}

// Records are the rows that tell users of operations.
type Records interface {
	CloseOperationLogs(ctx context.Context, checkpointID, operationType, status, errorInfo string, ended time.Time) (int, error)
}

// Journal is what a janitor needs of a journal.Journal.
type Journal interface {
	List(ctx context.Context, f journal.Filter) ([]journal.Entry, error)
	Lock(ctx context.Context, name, owner string, hold time.Duration) (bool, error)
	Unlock(ctx context.Context, name, owner string) error
	Prune(ctx context.Context, endedBefore time.Time) (int, error)
}

// Config of a Janitor. Providers, Journal, Judge and Records are needed.
type Config struct {
	Providers []*providers.Provider
	Journal   Journal
	Judge     Judge
	Records   Records

	// Tenure is the worker's: without it nothing is done. nil is one that lasts.
	Tenure operation.Tenure
	// Owner is the id by which locks are held; "": a new one.
	Owner string

	Interval  time.Duration // from one pass to the next, about; 0: Start does nothing
	Retention time.Duration // of operations that have ended; 0: 7 days
	// Tombstones is how long after it was made a checkpoint that was deleted is still shown;
	// 0: for ever.
	Tombstones time.Duration

	// RemoveOrphans has entries and data without an index.json removed. They are
	// reported and kept otherwise, since what is away may come back.
	RemoveOrphans bool

	// For tests; nil is the machine's.
	Now    func() time.Time
	Jitter func(time.Duration) time.Duration // at most a quarter more
	Log    logrus.FieldLogger
}

// Janitor looks after the banks of some providers, one janitor at a time for
// each journal.
type Janitor struct {
	config Config

	ctx     context.Context // ended by Stop
	stop    context.CancelFunc
	started bool
	done    chan struct{}

	marks   map[string]marks // by provider; of the goroutine that works
	orphans atomic.Int64     // at the last look at all banks
}

// firstPass is how long after the start the first pass begins at the latest: a
// worker has other things to do then.
const firstPass = time.Minute

// stopTime bounds the call that gives the turn back. Without it others wait.
const stopTime = 5 * time.Second

// New makes a janitor that does nothing yet.
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

// Start begins to work. It is called once, and before Stop.
func (j *Janitor) Start() {
	if j.config.Interval > 0 {
		j.started = true
		go j.run()
	}
}

// Stop breaks off what is under way and gives the turn to others, for which it
// takes a short time also when ctx has ended. It may be called more than once.
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

// turn is one pass, if it is this worker that does them.
func (j *Janitor) turn() {
	ours, err := j.config.Journal.Lock(j.ctx, turnLock, j.config.Owner, j.config.Interval*3/2)
	if err != nil && j.ctx.Err() == nil {
		j.config.Log.Warnf("the janitor does not know whether it is its turn: %v", err)
	}
	if err != nil || !ours {
		clear(j.marks) // what another one does meanwhile is not seen
		return
	}
	ctx, end, ok := j.enter(j.ctx, false)
	if !ok {
		return
	}
	defer end()
	j.pass(ctx)
}

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
