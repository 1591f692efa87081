// SPDX-License-Identifier: Apache-2.0

// Package ownership is a worker's part in sharing operations with the others:
// it announces in the journal that the worker lives, tells the worker when it
// may no longer act as the owner of anything, finds what workers that died have
// left behind, and notices what users want to end.
//
// Who owns an operation is decided by the journal alone, by the clock of its
// store. What a worker does outside of the journal is up to its tenure, which
// ends a margin before others may take over. A virtual machine that is suspended
// takes its clock with it and cannot know: then the journal refuses its writes,
// and its tenure ends with the first announcement that comes late.
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

// ErrLost reports that this worker may not act as the owner of anything: it
// could not announce itself in time, or has stopped. Since others go on with
// what it was doing, it is a protection.ErrHandover.
var ErrLost error = lost{}

type lost struct{}

func (lost) Error() string        { return "this worker is not announced as an owner of operations" }
func (lost) Is(target error) bool { return target == protection.ErrHandover }

// Journal is what a Keeper needs of a journal.Journal.
type Journal interface {
	Announce(ctx context.Context, o journal.Owner, hold time.Duration) error
	Retire(ctx context.Context, owner string) error
	Owners(ctx context.Context) ([]journal.Owner, error)
	Adopt(ctx context.Context, id string, from journal.Claim, owner string) (journal.Claim, error)
	List(ctx context.Context, f journal.Filter) ([]journal.Entry, error)
	Get(ctx context.Context, id string) (*journal.Entry, error)
}

// Config of a Keeper. Journal and Adopt are needed; see Options for the times.
type Config struct {
	Journal Journal
	Host    string // for people

	Hold   time.Duration // 0: 30 s
	Margin time.Duration // 0: a fifth of Hold
	Scan   time.Duration // 0: 2 s

	// Locks is a folder that the workers of this machine share, for a journal
	// that no other machine uses: a worker whose lock there is free is dead, and
	// nobody waits for the end of its announcement. "" is none.
	Locks string

	// Adopt is given each entry that this worker took over, with its new claim
	// and its input. Before it returns, Working must know the entry.
	Adopt func(journal.Entry)
	// Able returns why this worker could not go on with an entry, which then stays
	// with its dead owner, for a worker that can. If somebody asks for its end and
	// no such worker has come within a hold, Adopt is given it all the same, to end
	// it. The entry has no input. nil: it can go on with all.
	Able func(journal.Entry) error
	// Working reports whether this worker is at work on an entry, or about to add
	// it to the journal. Entries of its own that it is not at work on are taken
	// over like those of others: they are left from before a loss. nil: none.
	Working func(id string) bool
	// Cancel is given each entry at work that somebody asked to end, at every look
	// until it has ended: the worker may not have come to it yet. It may be nil.
	Cancel func(journal.Entry)

	// For tests; zero values are the machine's.
	Clock  tenure.Clock
	Jitter func(time.Duration) time.Duration // of Scan
	NewID  func() string
	Log    logrus.FieldLogger
}

// Keeper keeps one run of a worker in the journal. It is safe for concurrent
// use. Adopt and Cancel are called from one goroutine.
type Keeper struct {
	config Config
	id     string
	tenure *tenure.Tenure
	outage outage

	ctx  context.Context // ended by Stop
	stop context.CancelFunc
	done chan struct{} // closed when the scans have ended

	mu      sync.Mutex
	started bool
	stopped bool
	lock    *os.File

	// Of the goroutine that scans.
	sightings map[string]sighting  // of the announcements of other workers
	unable    map[string]time.Time // entries that it is not able to go on with, and since when it knows of them
	sweptDead map[string]bool      // dead owners who left nothing
	nextSweep time.Time            // when to look at the entries of all workers again
	nextFull  time.Time            // when to look at all own entries again
}

// New returns the keeper of a run that has not started, with an id of its own.
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

// complete checks a configuration and fills in defaults.
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

// ID returns the id of this run, the owner of its claims.
func (k *Keeper) ID() string { return k.id }

// Start announces the worker and begins to look for work. It waits for the
// first announcement until ctx ends; whether that worked is what Valid tells, as
// a journal that is away is asked until it is back. It fails if the lock of
// local mode cannot be taken.
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

// Stop ends the tenure and lets others take over at once what has not ended. It
// is for a worker that has ended its work. It may be called more than once. An
// error tells that the others have to wait for the end of the announcement.
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

// Valid returns nil while this worker may act as an owner, and else an error
// that wraps ErrLost and says why.
func (k *Keeper) Valid() error { return k.tenure.Valid() }

// Fence returns a Valid that is bound to the present tenure: it fails for ever
// once that has ended. It is what an operation that begins now has to ask.
func (k *Keeper) Fence() func() error { return k.tenure.Fence() }

// Context returns the context of the present tenure. It ends with a cause that
// wraps ErrLost a margin before others may take over; there is a new one when
// the worker could announce itself again. Writes to a bank under it, or under
// any context that comes from it, need the fence (guard.With). Before the
// first announcement it is the context of the first tenure.
func (k *Keeper) Context() context.Context {
	ctx, fence := k.tenure.Present()
	return guard.With(ctx, fence)
}

// Lost returns the channel that is closed when the present tenure ends.
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

// watch looks at the journal again and again, while the worker is an owner.
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

// scan is one look. It ends with the tenure.
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

// own looks at the entries of this run: those that are left from before a loss
// are taken up again, those that somebody wants to end are told. Thousands of
// entries take their time, so that a look at all of them is followed by a rest;
// those that somebody wants to end are few, and looked at in any case.
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

// pauseFactor is how many times as long as a look at all own entries the rest is
// that follows it: such looks take a twentieth of a processor at most.
const pauseFactor = 20

// others takes over the entries of owners that are dead. All entries are looked
// at when an owner is newly dead, and else once in a hold: for the entry that
// reached the journal after its owner's end.
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
	// Workers that look at the same time begin at different ends.
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

// sighting is an announcement, and when this worker saw it first.
type sighting struct {
	announced, first time.Time
}

// alive reports whether another worker has to be taken for alive. That its
// announcement has run out by the clock of the store is not enough, for that clock may
// have been set: the announcement has to stand still for a hold by the clock of this
// process, too.
func (k *Keeper) alive(o journal.Owner) bool {
	now, seen := k.config.Clock.Now(), k.sightings[o.ID]
	if !seen.announced.Equal(o.Announced) || seen.first.IsZero() {
		seen = sighting{o.Announced, now}
		k.sightings[o.ID] = seen
	}
	return o.Live || !o.Retired && now.Sub(seen.first) < k.config.Hold
}

// cancelledHere takes over what this worker could not go on with and somebody wants to
// end, without waiting for the next look at all entries.
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

// adopt takes over one entry and hands it on, unless another worker was faster,
// or this one could not go on with it.
// What was taken over and could not be handed on, because an answer got lost or
// the tenure ended, is found by a later scan among the own entries.
func (k *Keeper) adopt(ctx context.Context, fence func() error, e journal.Entry) error {
	if err := fence(); err != nil {
		return err
	}
	if err := k.config.Able(e); err != nil && !k.mayEndHere(e, err) {
		return nil
	}
	// One entry that somebody has locked does not take the time of all others.
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

// mayEndHere reports whether an entry that this worker could not go on with is to end
// here: somebody has asked for that, and a worker that could go on has had the
// time to take it.
func (k *Keeper) mayEndHere(e journal.Entry, unable error) bool {
	now := k.config.Clock.Now()
	since, known := k.unable[e.ID]
	if !known {
		k.unable[e.ID] = now
		k.config.Log.WithField("operation_id", e.ID).Warnf("an operation (%s) is left to another worker: %v", e.Kind, unable)
	}
	return known && e.CancelledBy != "" && now.Sub(since) >= k.config.Hold
}

// retireDead retires the owners whose process is dead, by their locks. An owner whose
// lock is held is alive, whatever the journal says of it. Of one without a file, which is
// of another folder or has stopped in order, the journal alone tells. The lock is kept
// meanwhile, so that one worker retires it.
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
