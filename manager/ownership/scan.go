// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/karbor-project/karbor/pkg/journal"
)

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
		return fmt.Errorf("list owners: %w", err)
	}
	if k.config.Locks != "" {
		if err := k.bury(ctx, owners); err != nil {
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
	all := !began.Before(k.rest)
	entries, err := k.config.Journal.List(ctx, journal.Filter{Owner: k.id, Unfinished: true, Cancelling: !all})
	if err != nil {
		return fmt.Errorf("list own operations: %w", err)
	}
	if all {
		now := k.config.Clock.Now()
		k.rest = now.Add(min(restFactor*now.Sub(began), k.config.Hold))
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

// restFactor is how many times as long as a look at all own entries the rest is
// that follows it: such looks take a twentieth of a processor at most.
const restFactor = 20

// others takes over the entries of owners that are dead. All entries are looked
// at when an owner is newly dead, and else once in a hold: for the entry that
// reached the journal after its owner's end.
func (k *Keeper) others(ctx context.Context, fence func() error, owners []journal.Owner) error {
	live, dead, news := map[string]bool{k.id: true}, map[string]bool{}, false
	for _, o := range owners {
		if o.ID == k.id {
			continue
		}
		if o.Live {
			live[o.ID] = true
			continue
		}
		dead[o.ID] = true
		news = news || !k.swept[o.ID]
	}
	now := k.config.Clock.Now()
	if !news && now.Before(k.sweep) {
		k.swept = dead
		return k.unwanted(ctx, fence, live)
	}
	entries, err := k.config.Journal.List(ctx, journal.Filter{Unfinished: true})
	if err != nil {
		return fmt.Errorf("list operations: %w", err)
	}
	// Workers that look at the same time begin at different ends.
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	var failures error
	unfinished := map[string]bool{}
	for _, e := range entries {
		unfinished[e.ID] = true
	}
	maps.DeleteFunc(k.left, func(id string, _ time.Time) bool { return !unfinished[id] })
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
	k.swept, k.sweep = dead, now.Add(k.config.Hold)
	return nil
}

// unwanted takes over what this worker could not go on with and somebody wants to
// end, without waiting for the next look at all entries.
func (k *Keeper) unwanted(ctx context.Context, fence func() error, live map[string]bool) error {
	if len(k.left) == 0 {
		return nil
	}
	entries, err := k.config.Journal.List(ctx, journal.Filter{Unfinished: true, Cancelling: true})
	if err != nil {
		return fmt.Errorf("list operations to cancel: %w", err)
	}
	var failures error
	for _, e := range entries {
		if _, known := k.left[e.ID]; known && !live[e.Owner] {
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
	if err := k.config.Able(e); err != nil && !k.forsaken(e, err) {
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
		return fmt.Errorf("adopt operation %s: %w", e.ID, err)
	}
	adopted, err := k.config.Journal.Get(ctx, e.ID)
	if errors.Is(err, journal.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read operation %s: %w", e.ID, err)
	}
	if adopted.Claim != claim || adopted.State == journal.Ended {
		return nil
	}
	if err := fence(); err != nil {
		return err
	}
	delete(k.left, e.ID)
	k.config.Log.WithField("operation_id", e.ID).WithField("from_owner_id", e.Owner).
		Infof("took over an operation (%s), generation %d", e.Kind, claim.Generation)
	k.config.Adopt(*adopted)
	return nil
}

// forsaken tells whether an entry that this worker could not go on with is to end
// here: somebody has asked for that, and a worker that could go on has had the
// time to take it.
func (k *Keeper) forsaken(e journal.Entry, unable error) bool {
	now := k.config.Clock.Now()
	since, known := k.left[e.ID]
	if !known {
		k.left[e.ID] = now
		k.config.Log.WithField("operation_id", e.ID).Warnf("an operation (%s) is left to another worker: %v", e.Kind, unable)
	}
	return known && e.CancelledBy != "" && now.Sub(since) >= k.config.Hold
}
