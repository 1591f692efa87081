// SPDX-License-Identifier: Apache-2.0

// Package ownership lets workers share operations. It announces in the journal that this worker is
// alive, tells the worker when it may no longer act as an owner, finds operations that dead workers
// have left behind, and notices requests of users to cancel operations.
//
// The journal alone decides who owns an operation, by the clock of its store. Work outside of the
// journal is bound to the worker's tenure, which ends a margin before other workers may take over.
// A virtual machine that is suspended cannot know this, since its clock stops too: the journal then
// refuses its writes, and its tenure ends with its first late announcement.
package ownership

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/pkg/tenure"
	"github.com/karbor-project/karbor/providers/protection"
)

// ErrLost reports that this worker may not act as an owner, because it could not announce itself in
// time or has stopped. Other workers resume its operations, so it is a protection.ErrHandover.
var ErrLost error = lost{}

type lost struct{}

func (lost) Error() string        { return "this worker is not announced as an owner of operations" }
func (lost) Is(target error) bool { return target == protection.ErrHandover }

// Journal is the part of a journal.Journal that a Keeper needs.
type Journal interface {
	Announce(ctx context.Context, o journal.Owner, hold time.Duration) error
	Retire(ctx context.Context, owner string) error
	Owners(ctx context.Context) ([]journal.Owner, error)
	Adopt(ctx context.Context, id string, from journal.Claim, owner string) (journal.Claim, error)
	List(ctx context.Context, f journal.Filter) ([]journal.Entry, error)
	Get(ctx context.Context, id string) (*journal.Entry, error)
}

// Config of a Keeper. Journal and Adopt are required; see Options for the times.
type Config struct {
	Journal Journal
	Host    string // informational

	Hold   time.Duration // 0: 30 s
	Margin time.Duration // 0: a fifth of Hold
	Scan   time.Duration // 0: 2 s

	// Locks is a folder that the workers of this machine share, for a journal that no other machine
	// uses. A worker whose lock in it is free is dead, and others need not wait for its
	// announcement to expire. Empty means none.
	Locks string

	// Adopt is called with each entry that this worker took over, with its new claim and its input.
	// Working must know the entry before Adopt returns.
	Adopt func(journal.Entry)
	// Able returns why this worker could not resume an entry, or nil. Such an entry stays with its
	// dead owner, for a worker that can resume it. If a user cancels it and no such worker has come
	// within a hold, Adopt is called all the same, to end it. The entry has no input. A nil Able
	// accepts every entry.
	Able func(journal.Entry) error
	// Working reports whether this worker is working on an entry, or about to add it to the
	// journal. Other entries of its own are left from before a loss, and are taken over like those
	// of dead workers. Nil means none.
	Working func(id string) bool
	// Cancel is called with each running entry that a user has cancelled, on every scan until it
	// has ended, since the worker may not have started it yet. It may be nil.
	Cancel func(journal.Entry)

	// For tests; zero values mean the real ones.
	Clock  tenure.Clock
	Jitter func(time.Duration) time.Duration // of Scan
	NewID  func() string
	Log    logrus.FieldLogger
}

// Keeper keeps one run of a worker in the journal. It is safe for concurrent use. Adopt and Cancel
// are called from one goroutine.
type Keeper struct {
	config Config
	id     string
	tenure *tenure.Tenure
	outage outage

	ctx  context.Context // cancelled by Stop
	stop context.CancelFunc
	done chan struct{} // closed when the scans have ended

	mu      sync.Mutex
	started bool
	stopped bool
	lock    *os.File

	// Used only by the scanning goroutine.
	sightings map[string]sighting  // of the announcements of other workers
	unable    map[string]time.Time // entries that it cannot resume, and since when they are known
	sweptDead map[string]bool      // dead owners without entries
	nextSweep time.Time            // time of the next scan of all workers' entries
	nextFull  time.Time            // time of the next scan of all own entries
}

// New returns the keeper of a new run, which has an id of its own and is not started.
func New(c Config) (*Keeper, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	k := &Keeper{config: c, id: c.NewID(), done: make(chan struct{}), sightings: map[string]sighting{}, unable: map[string]time.Time{},
		sweptDead: map[string]bool{}}
	k.config.Log = c.Log.WithField("owner_id", k.id)
	k.outage.log = k.config.Log
	k.ctx, k.stop = context.WithCancel(context.Background())
	renew := min(c.Hold/3, (c.Hold-c.Margin)/2)
	k.tenure = tenure.New(tenure.Config{
		Request: k.announce,
		Err:     ErrLost,
		Hold:    c.Hold, Margin: c.Margin,
		Renew: renew, Retry: renew / 5, Timeout: renew / 2,
		Clock:  c.Clock,
		Failed: func(err error) { k.outage.began("cannot announce this worker in the journal, trying again", err) },
		Began:  k.began,
		Lost: func() {
			k.config.Log.Error("this worker could not announce itself in time: its operations go to others, or wait for it")
		},
	})
	return k, nil
}

// complete validates a configuration and fills in defaults.
func (c *Config) complete() error {
	if c.Journal == nil || c.Adopt == nil {
		return errors.New("ownership: a keeper needs a journal and somebody who adopts")
	}
	if c.Hold == 0 {
		c.Hold = defaultHold
	}
	if c.Margin == 0 {
		c.Margin = c.Hold / 5
	}
	if c.Scan == 0 {
		c.Scan = defaultScan
	}
	if c.Hold < 0 || c.Scan < 0 || c.Margin < 0 || c.Margin > c.Hold/2 {
		return fmt.Errorf("ownership: hold %s, margin %s and scan interval %s do not fit together: "+
			"the margin may be half of the hold", c.Hold, c.Margin, c.Scan)
	}
	if c.Working == nil {
		c.Working = func(string) bool { return false }
	}
	if c.Able == nil {
		c.Able = func(journal.Entry) error { return nil }
	}
	if c.Cancel == nil {
		c.Cancel = func(journal.Entry) {}
	}
	if c.Clock.Now == nil {
		c.Clock.Now = time.Now
	}
	if c.Clock.After == nil {
		c.Clock.After = time.After
	}
	if c.Jitter == nil {
		c.Jitter = func(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
	}
	if c.NewID == nil {
		c.NewID = uuid.NewString
	}
	c.Log = telemetry.OrDiscard(c.Log)
	return nil
}

// ID returns the id of this run, which owns its claims.
func (k *Keeper) ID() string { return k.id }

// Start announces the worker and begins to scan for work. It waits for the first announcement until
// ctx ends; Valid reports whether that succeeded, since the announcement is retried while the
// journal is unavailable. Start fails if the lock of local mode cannot be taken.
func (k *Keeper) Start(ctx context.Context) error {
	k.mu.Lock()
	if k.started || k.stopped {
		k.mu.Unlock()
		return errors.New("ownership: the keeper was started before")
	}
	if k.config.Locks != "" {
		lock, err := lockOwner(k.config.Locks, k.id)
		if err != nil {
			k.mu.Unlock()
			return fmt.Errorf("locking the id of this worker: %w", err)
		}
		k.lock = lock
	}
	k.started = true
	k.mu.Unlock()
	k.tenure.Start()
	go k.watch()
	k.tenure.Tried(ctx)
	return nil
}

// Stop ends the tenure and lets other workers take over unfinished operations at once. It is called
// when the worker has ended its work, and may be repeated. An error means that other workers have
// to wait for the announcement to expire.
func (k *Keeper) Stop(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return nil
	}
	k.stopped = true
	k.stop()
	k.tenure.End("it has stopped")
	if !k.started {
		return nil
	}
	<-k.done
	err := k.config.Journal.Retire(ctx, k.id)
	if k.lock != nil {
		unlockOwner(k.lock)
	}
	if err != nil {
		return fmt.Errorf("retiring owner %s: %w", k.id, err)
	}
	return nil
}

// Valid returns nil while this worker may act as an owner. Otherwise it returns an error that wraps
// ErrLost and says why.
func (k *Keeper) Valid() error { return k.tenure.Valid() }

// Fence returns a Valid that is bound to the current tenure: once that has ended, it always fails.
// An operation that begins now must use it.
func (k *Keeper) Fence() func() error { return k.tenure.Fence() }

// Context returns the context of the current tenure. It ends, with a cause that wraps ErrLost, a
// margin before other workers may take over. A new one begins when the worker has announced itself
// again. Writes to a bank under it or a derived context need the fence (guard.With). Before the
// first announcement, Context returns the context of the first tenure.
func (k *Keeper) Context() context.Context {
	ctx, fence := k.tenure.Present()
	return guard.With(ctx, fence)
}

// Lost returns a channel that is closed when the current tenure ends.
func (k *Keeper) Lost() <-chan struct{} { return k.tenure.Context().Done() }

// Await waits until this worker may act as an owner.
func (k *Keeper) Await(ctx context.Context) error { return k.tenure.Await(ctx) }

func (k *Keeper) announce(ctx context.Context, _ bool) error {
	err := k.config.Journal.Announce(ctx, journal.Owner{ID: k.id, Host: k.config.Host}, k.config.Hold)
	if err == nil {
		k.outage.ended()
	}
	return err
}

func (k *Keeper) began(again bool) {
	if again {
		k.config.Log.Info("this worker is announced again")
	}
}

// watch scans the journal at intervals while the worker is an owner.
func (k *Keeper) watch() {
	defer close(k.done)
	for k.tenure.Await(k.ctx) == nil {
		if err := k.scan(); err != nil && k.ctx.Err() == nil {
			k.outage.began("cannot look for operations in the journal, trying again", err)
		}
		select {
		case <-k.config.Clock.After(k.config.Jitter(k.config.Scan)):
		case <-k.ctx.Done():
			return
		}
	}
}

// scan scans the journal once. It ends with the tenure.
func (k *Keeper) scan() error {
	tenure, fence := k.tenure.Present()
	ctx, cancel := context.WithTimeoutCause(tenure, k.config.Hold, errors.New("the journal takes too long"))
	defer cancel()
	defer context.AfterFunc(k.ctx, cancel)()

	if err := k.own(ctx, fence); err != nil {
		return err
	}
	owners, err := k.config.Journal.Owners(ctx)
	if err != nil {
		return fmt.Errorf("listing owners: %w", err)
	}
	if k.config.Locks != "" {
		if err := k.retireDead(ctx, owners); err != nil {
			return err
		}
	}
	return k.others(ctx, fence, owners)
}

// own scans the entries of this run. It resumes entries that are left from before a loss, and
// reports cancelled ones. A scan of thousands of entries takes long, so a pause follows it; the
// cancelled entries are few, and are scanned every time.
func (k *Keeper) own(ctx context.Context, fence func() error) error {
	began := k.config.Clock.Now()
	all := !began.Before(k.nextFull)
	entries, err := k.config.Journal.List(ctx, journal.Filter{Owner: k.id, Unfinished: true, Cancelling: !all})
	if err != nil {
		return fmt.Errorf("listing own operations: %w", err)
	}
	if all {
		now := k.config.Clock.Now()
		k.nextFull = now.Add(min(pauseFactor*now.Sub(began), k.config.Hold))
	}
	var failures error
	for _, e := range entries {
		switch {
		case !k.config.Working(e.ID):
			failures = errors.Join(failures, k.adopt(ctx, fence, e))
		case e.CancelledBy != "":
			k.config.Cancel(e)
		}
	}
	return failures
}

// pauseFactor is the ratio of the pause after a scan of all own entries to the duration of the
// scan. It limits such scans to a twentieth of a processor.
const pauseFactor = 20

// others takes over the entries of dead owners. It scans all entries when an owner has newly died,
// and otherwise once per hold, for entries that reached the journal after the death of their owner.
func (k *Keeper) others(ctx context.Context, fence func() error, owners []journal.Owner) error {
	live, dead, news := map[string]bool{k.id: true}, map[string]bool{}, false
	maps.DeleteFunc(k.sightings, func(id string, _ sighting) bool {
		return !slices.ContainsFunc(owners, func(o journal.Owner) bool { return o.ID == id })
	})
	for _, o := range owners {
		if o.ID == k.id {
			continue
		}
		if k.alive(o) {
			live[o.ID] = true
			continue
		}
		dead[o.ID] = true
		news = news || !k.sweptDead[o.ID]
	}
	now := k.config.Clock.Now()
	if !news && now.Before(k.nextSweep) {
		k.sweptDead = dead
		return k.cancelledHere(ctx, fence, live)
	}
	entries, err := k.config.Journal.List(ctx, journal.Filter{Unfinished: true})
	if err != nil {
		return fmt.Errorf("listing operations: %w", err)
	}
	// Concurrent workers start at different entries.
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	var failures error
	unfinished := map[string]bool{}
	for _, e := range entries {
		unfinished[e.ID] = true
	}
	maps.DeleteFunc(k.unable, func(id string, _ time.Time) bool { return !unfinished[id] })
	for _, e := range entries {
		if live[e.Owner] {
			continue
		}
		failures = errors.Join(failures, k.adopt(ctx, fence, e))
		if fence() != nil {
			break
		}
	}
	if failures != nil {
		return failures
	}
	k.sweptDead, k.nextSweep = dead, now.Add(k.config.Hold)
	return nil
}

// sighting is an announcement and the time at which this worker first saw it.
type sighting struct {
	announced, first time.Time
}

// alive reports whether another worker must be considered alive. An announcement that has expired
// by the clock of the store is not sufficient, since that clock may have been set: the announcement
// must also have been unchanged for a hold by the clock of this process.
func (k *Keeper) alive(o journal.Owner) bool {
	now, seen := k.config.Clock.Now(), k.sightings[o.ID]
	if !seen.announced.Equal(o.Announced) || seen.first.IsZero() {
		seen = sighting{o.Announced, now}
		k.sightings[o.ID] = seen
	}
	return o.Live || !o.Retired && now.Sub(seen.first) < k.config.Hold
}

// cancelledHere takes over cancelled entries that this worker cannot resume, without waiting for
// the next scan of all entries.
func (k *Keeper) cancelledHere(ctx context.Context, fence func() error, live map[string]bool) error {
	if len(k.unable) == 0 {
		return nil
	}
	entries, err := k.config.Journal.List(ctx, journal.Filter{Unfinished: true, Cancelling: true})
	if err != nil {
		return fmt.Errorf("listing operations to cancel: %w", err)
	}
	var failures error
	for _, e := range entries {
		if _, known := k.unable[e.ID]; known && !live[e.Owner] {
			failures = errors.Join(failures, k.adopt(ctx, fence, e))
		}
	}
	return failures
}

// adopt takes over one entry and passes it to Adopt, unless another worker was faster or this one
// could not resume it. If the entry could not be passed on, because a response was lost or the
// tenure ended, a later scan finds it among the own entries.
func (k *Keeper) adopt(ctx context.Context, fence func() error, e journal.Entry) error {
	if err := fence(); err != nil {
		return err
	}
	if err := k.config.Able(e); err != nil && !k.mayEndHere(e, err) {
		return nil
	}
	// An entry that is locked in the database must not delay all others.
	ctx, cancel := context.WithTimeoutCause(ctx, k.config.Hold/4, errors.New("the journal takes too long"))
	defer cancel()
	claim, err := k.config.Journal.Adopt(ctx, e.ID, e.Claim, k.id)
	if errors.Is(err, journal.ErrClaim) || errors.Is(err, journal.ErrOwnerLives) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("adopting operation %s: %w", e.ID, err)
	}
	adopted, err := k.config.Journal.Get(ctx, e.ID)
	if errors.Is(err, journal.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading operation %s: %w", e.ID, err)
	}
	if adopted.Claim != claim || adopted.State == journal.Ended {
		return nil
	}
	if err := fence(); err != nil {
		return err
	}
	delete(k.unable, e.ID)
	k.config.Log.WithField("operation_id", e.ID).WithField("from_owner_id", e.Owner).
		Infof("took over an operation (%s), generation %d", e.Kind, claim.Generation)
	k.config.Adopt(*adopted)
	return nil
}

// mayEndHere reports whether this worker should end an entry that it cannot resume: a user has
// cancelled it, and workers that could resume it have had the time to do so.
func (k *Keeper) mayEndHere(e journal.Entry, unable error) bool {
	now := k.config.Clock.Now()
	since, known := k.unable[e.ID]
	if !known {
		k.unable[e.ID] = now
		k.config.Log.WithField("operation_id", e.ID).Warnf("an operation (%s) is left to another worker: %v", e.Kind, unable)
	}
	return known && e.CancelledBy != "" && now.Sub(since) >= k.config.Hold
}

// retireDead retires the owners whose process is dead according to their locks. An owner whose lock
// is held is alive, whatever the journal says. For an owner without a lock file, which belongs to
// another folder or has stopped in good order, only the journal counts. The lock is held meanwhile,
// so that only one worker retires the owner.
func (k *Keeper) retireDead(ctx context.Context, owners []journal.Owner) error {
	for i := range owners {
		o := &owners[i]
		if o.ID == k.id || uuid.Validate(o.ID) != nil {
			continue
		}
		file, err := os.OpenFile(lockFile(k.config.Locks, o.ID), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if flock(file) != nil {
			file.Close()
			o.Live = true
			continue
		}
		if !o.Retired {
			if err := k.config.Journal.Retire(ctx, o.ID); err != nil {
				file.Close()
				return fmt.Errorf("retiring owner %s, whose process is dead: %w", o.ID, err)
			}
			k.config.Log.WithField("dead_owner_id", o.ID).Info("the process of another worker is dead")
			o.Live, o.Retired = false, true
		}
		unlockOwner(file)
	}
	return nil
}
