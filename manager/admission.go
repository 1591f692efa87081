// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/karbor-project/karbor/rpc"
)

// Handlers bounds the requests that are worked on at a time. 0 is no bound.
type Handlers struct {
	// Total bounds all requests.
	Total int
	// PerProject bounds those of one project. Requests that start operations and requests
	// that read count separately: a project that has too many of one sort may still send
	// the other.
	PerProject int
	// Starting bounds the requests of all projects that start operations, so that some
	// handlers are left for requests that read.
	Starting int
	// Waiting bounds how many more requests of a project, of each sort, wait for their
	// turn. Further ones are refused. The RPC server needs room for those that wait.
	Waiting int
}

// admission lets requests start within the bounds, in the order of their arrival as far as
// the bounds allow it.
type admission struct {
	most Handlers

	mu       sync.Mutex
	working  map[share]int
	total    int
	starting int
	waiting  map[share]int
	line     []*waiter // in the order of arrival
}

// share is what the requests of a project are counted under.
type share struct {
	project string
	starts  bool // operations
}

// waiter is a request that waits for its turn.
type waiter struct {
	share share
	turn  chan struct{} // closed when it may start
}

var errTooManyWait = errors.New("as many requests of the project are waiting as one project may have waiting")

func newAdmission(most Handlers) *admission {
	return &admission{most: most, working: map[share]int{}, waiting: map[share]int{}}
}

// enter waits until a request may start, and admits it until leave is called.
func (a *admission) enter(ctx context.Context, s share) (leave func(), err error) {
	leave = sync.OnceFunc(func() { a.leave(s) })
	a.mu.Lock()
	if a.startable(s) {
		a.start(s)
		a.mu.Unlock()
		return leave, nil
	}
	if a.waiting[s] >= a.most.Waiting {
		a.mu.Unlock()
		return nil, errTooManyWait
	}
	w := &waiter{s, make(chan struct{})}
	a.line = append(a.line, w)
	a.waiting[s]++
	a.mu.Unlock()
	select {
	case <-w.turn:
		return leave, nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := slices.Index(a.line, w); at >= 0 {
		a.remove(at)
		return nil, context.Cause(ctx)
	}
	return leave, nil // its turn has come just now
}

// startable reports whether the bounds let a request start.
func (a *admission) startable(s share) bool {
	below := func(count, most int) bool { return most == 0 || count < most }
	return below(a.total, a.most.Total) && below(a.working[s], a.most.PerProject) && (!s.starts || below(a.starting, a.most.Starting))
}

// start counts a request.
func (a *admission) start(s share) {
	a.working[s]++
	a.total++
	if s.starts {
		a.starting++
	}
}

// remove takes a request out of the line.
func (a *admission) remove(at int) {
	s := a.line[at].share
	a.line = slices.Delete(a.line, at, at+1)
	if a.waiting[s]--; a.waiting[s] == 0 {
		delete(a.waiting, s)
	}
}

// leave ends a request, and starts the first one that may start then.
func (a *admission) leave(s share) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.working[s]--; a.working[s] == 0 {
		delete(a.working, s)
	}
	a.total--
	if s.starts {
		a.starting--
	}
	if at := slices.IndexFunc(a.line, func(w *waiter) bool { return a.startable(w.share) }); at >= 0 {
		w := a.line[at]
		a.remove(at)
		a.start(w.share)
		close(w.turn)
	}
}

// untilAbandoned returns a context that also ends when the caller of a request gives up.
func untilAbandoned(ctx context.Context, r *rpc.Request) (context.Context, context.CancelFunc) {
	if r.Deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, r.Deadline, rpc.ErrAbandoned)
}
