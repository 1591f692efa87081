// SPDX-License-Identifier: Apache-2.0

package poll

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/karbor-project/karbor/providers/protection"
)

// Key says which listing knows a resource. Waits for the same key share it.
type Key struct {
	Service string // "cinder"
	Project string // id of the project whose resources are listed
	Kind    string // "volumes"
}

// Status is the state of a resource in a listing.
type Status struct {
	Text string // as the service calls it
	// Percent is how far the resource is on its way, 0 if nobody tells.
	Percent int
}

// Source is the service that is asked, with the rights of one waiting caller:
// the context says whose.
type Source interface {
	// Page returns the statuses by id of one page of a listing, best with the
	// newest resources first. marker is empty for the first page, then next of
	// the page before; an empty next is the end.
	Page(ctx context.Context, marker string) (page map[string]Status, next string, err error)
	// Show returns the status of one resource, NotFound if it is gone.
	Show(ctx context.Context, id string) (Status, error)
}

// BatchOptions tune a Batch. Zero values are the defaults.
type BatchOptions struct {
	// Interval lies between the starts of two listings of the same key, give or
	// take a tenth; 10 s by default.
	Interval time.Duration
	// Gather is how long the first wait of a key waits for others; a twentieth of
	// Interval by default.
	Gather time.Duration
	// Singles is up to how many awaited resources are read individually, without
	// a listing. 8 by default.
	Singles int
	// Strays is how many resources that no page had are read individually in
	// one interval, such as those that are gone after a deletion. 100 by default;
	// the rest has its turn in the next intervals.
	Strays int
	// Pages bounds one listing; 50 by default. The listing ends early once it has
	// shown all that are waited for.
	Pages int
	// Jitter is for tests; nil moves by a tenth.
	Jitter func(time.Duration) time.Duration
}

// Batch waits for many resources with few calls: one listing for each key at a
// time, whatever the number of waits. A resource that the listing lacks is looked
// at by itself before it counts as gone: a new one may not be listed yet, and a
// listing is bounded.
//
// A key has a goroutine while something waits for it. A Batch is safe for
// concurrent use.
type Batch struct {
	options BatchOptions

	mu     sync.Mutex
	groups map[Key]*group
}

// NewBatch returns a Batch.
func NewBatch(o BatchOptions) *Batch {
	if o.Interval <= 0 {
		o.Interval = 10 * time.Second
	}
	if o.Gather <= 0 {
		o.Gather = o.Interval / 20
	}
	if o.Singles <= 0 {
		o.Singles = 8
	}
	if o.Strays <= 0 {
		o.Strays = 100
	}
	if o.Pages <= 0 {
		o.Pages = 50
	}
	if o.Jitter == nil {
		o.Jitter = tenth
	}
	return &Batch{options: o, groups: map[Key]*group{}}
}

// Wait is one wait.
type Wait struct {
	ID       string
	Statuses Statuses
	// Options are the options of Until, without the interval, which is the Batch's.
	Options Options
	// Source asks with the rights of this wait's context. It serves others of
	// the same key too.
	Source Source
	// Report is told how far the resource is, if the source knows. It may be nil.
	Report func(percent int)
}

// Until waits as the function of this name does.
func (b *Batch) Until(ctx context.Context, key Key, wait Wait) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // no call goes on with the rights of a wait that has ended
	w := &waiter{ctx: ctx, wait: wait, began: time.Now(), done: make(chan error, 1)}
	g := b.join(key, w)
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		g.leave(w)
		return context.Cause(ctx)
	case <-protection.Draining(ctx):
		g.leave(w)
		return errDraining
	}
}

// waiter is one wait on the list of its group.
type waiter struct {
	ctx      context.Context // of the calls that its rights are lent to; ends with the wait
	wait     Wait
	began    time.Time
	last     string // status that was seen last
	failures int    // of looks, in a row
	done     chan error
}

// join puts a wait on the list of its key.
func (b *Batch) join(key Key, w *waiter) *group {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, ok := b.groups[key]
	if !ok {
		g = newGroup(b, key)
		b.groups[key] = g
		go g.run()
	}
	g.add(w)
	return g
}

// retire ends a group that nobody waits in. Under the lock of the Batch nobody
// joins in between.
func (b *Batch) retire(g *group) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !g.empty() {
		return false
	}
	delete(b.groups, g.key)
	return true
}

// seen judges a status. It reports whether the wait has ended.
func (w *waiter) seen(s Status, next time.Duration) bool {
	w.failures, w.last = 0, s.Text
	if s.Percent > 0 && w.wait.Report != nil {
		w.wait.Report(s.Percent)
	}
	if done, err := w.wait.Statuses.judge(s.Text); done {
		w.done <- err
		return true
	}
	return w.late(next)
}

// failed judges the failure of a look.
func (w *waiter) failed(err error, next time.Duration) bool {
	if !w.wait.Options.passOver(err, w.failures) {
		w.done <- err
		return true
	}
	w.failures++
	return w.late(next)
}

// late ends the wait if its deadline comes before the next look.
func (w *waiter) late(next time.Duration) bool {
	waited, limit := time.Since(w.began), w.wait.Options.Timeout
	if limit <= 0 || waited+next <= limit {
		return false
	}
	w.done <- fmt.Errorf("status %s after %s: %w", w.last, waited.Round(time.Second), ErrDeadline)
	return true
}
