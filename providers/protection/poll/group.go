// SPDX-License-Identifier: Apache-2.0

package poll

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// parallelShows is how many single reads of a key's resources run at the same
// time.
const parallelShows = 4

// maxCallers is the number of waits with whose tokens a failing listing is tried: one
// token may have expired while others are valid.
const maxCallers = 3

// group is all that waits for one key.
type group struct {
	batch *Batch
	key   Key
	// changed has a token when the list became empty, so that run ends at once.
	changed chan struct{}

	mu      sync.Mutex
	waiters map[string][]*waiter // by id of the resource
	turn    string               // id at which the last round of single looks ended
}

func newGroup(b *Batch, key Key) *group {
	return &group{batch: b, key: key, changed: make(chan struct{}, 1), waiters: map[string][]*waiter{}}
}

func (g *group) add(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiters[w.wait.ID] = append(g.waiters[w.wait.ID], w)
}

func (g *group) empty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiters) == 0
}

// leave takes a wait off the list.
func (g *group) leave(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	id := w.wait.ID
	rest := slices.DeleteFunc(g.waiters[id], func(other *waiter) bool { return other == w })
	if len(rest) > 0 {
		g.waiters[id] = rest
		return
	}
	delete(g.waiters, id)
	if len(g.waiters) == 0 {
		select {
		case g.changed <- struct{}{}:
		default:
		}
	}
}

// run looks until nobody waits any more.
func (g *group) run() {
	timer := time.NewTimer(g.batch.options.Jitter(g.batch.options.Gather))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			began := time.Now()
			next := g.batch.options.Jitter(g.batch.options.Interval)
			g.look(next)
			timer.Reset(max(0, next-time.Since(began)))
		case <-g.changed:
		}
		if g.empty() && g.batch.retire(g) {
			return
		}
	}
}

// look finds out the status of all that are waited for, as far as the bounds
// allow. next is the time to the next look.
func (g *group) look(next time.Duration) {
	wanted := g.ids()
	if len(wanted) > g.batch.options.Singles {
		if err := g.list(wanted, next); err != nil {
			g.fail(err, next)
			return
		}
	}
	for _, id := range g.show(g.share(wanted), next) {
		delete(wanted, id)
	}
	for id := range wanted { // nothing is known of these
		g.each(id, func(w *waiter) bool { return w.late(next) })
	}
}

// ids returns the resources that are waited for.
func (g *group) ids() map[string]struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := make(map[string]struct{}, len(g.waiters))
	for id := range g.waiters {
		ids[id] = struct{}{}
	}
	return ids
}

// list goes through the pages and removes from wanted the ids that they show. Each page is
// asked for with the rights of one that still waits.
func (g *group) list(wanted map[string]struct{}, next time.Duration) error {
	var failures []error
	failed := map[*waiter]bool{}
	marker := ""
	for read := 0; read < g.batch.options.Pages; {
		caller := g.caller(failed)
		if caller == nil {
			return errors.Join(failures...)
		}
		page, following, err := caller.wait.Source.Page(caller.ctx, marker)
		if err != nil {
			failed[caller] = true
			if caller.ctx.Err() == nil { // else it left meanwhile: that says nothing of the service
				failures = append(failures, err)
			}
			if len(failures) == maxCallers {
				return errors.Join(failures...)
			}
			continue
		}
		for id, status := range page {
			if _, ok := wanted[id]; ok {
				delete(wanted, id)
				g.each(id, func(w *waiter) bool { return w.seen(status, next) })
			}
		}
		if following == "" || following == marker || len(wanted) == 0 {
			return nil
		}
		marker = following
		read++
	}
	return nil
}

// share picks the ids whose turn it is to be read individually.
func (g *group) share(ids map[string]struct{}) []string {
	sorted := slices.Sorted(maps.Keys(ids))
	most := max(g.batch.options.Singles, g.batch.options.Strays)
	if len(sorted) <= most {
		return sorted
	}
	after, _ := slices.BinarySearch(sorted, g.turn+"\x00")
	sorted = slices.Concat(sorted[after:], sorted[:after])[:most]
	g.turn = sorted[len(sorted)-1]
	return sorted
}

// show looks at resources by themselves, each with the rights of one that waits
// for it. It returns ids.
func (g *group) show(ids []string, next time.Duration) []string {
	var group errgroup.Group
	group.SetLimit(parallelShows)
	for _, id := range ids {
		caller := g.first(id)
		if caller == nil || caller.ctx.Err() != nil {
			continue
		}
		group.Go(func() error {
			status, err := caller.wait.Source.Show(caller.ctx, id)
			switch {
			case err == nil:
				g.each(id, func(w *waiter) bool { return w.seen(status, next) })
			case caller.ctx.Err() == nil:
				g.each(id, func(w *waiter) bool { return w.failed(err, next) })
			}
			return nil
		})
	}
	_ = group.Wait()
	return ids
}

// caller returns a wait other than those that have failed, nil if there is none.
func (g *group) caller(failed map[*waiter]bool) *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, waiters := range g.waiters {
		for _, w := range waiters {
			if !failed[w] && w.ctx.Err() == nil {
				return w
			}
		}
	}
	return nil
}

func (g *group) first(id string) *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if waiters := g.waiters[id]; len(waiters) > 0 {
		return waiters[0]
	}
	return nil
}

// each hands the waits for a resource to judge, which tells which have ended.
func (g *group) each(id string, judge func(*waiter) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest := slices.DeleteFunc(g.waiters[id], judge)
	if len(rest) > 0 {
		g.waiters[id] = rest
		return
	}
	delete(g.waiters, id)
}

// fail tells all of a failed listing.
func (g *group) fail(err error, next time.Duration) {
	for id := range g.ids() {
		g.each(id, func(w *waiter) bool { return w.failed(err, next) })
	}
}
