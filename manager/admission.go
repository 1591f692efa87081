// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/karbor-project/karbor/rpc"
)

// Handlers bounds the requests that are handled at the same time. Zero means no bound.
type Handlers struct {
	// Total bounds all requests.
	Total int
	// PerProject bounds the requests of one project. Requests that start operations and requests
	// that read are counted separately, so a project with too many of one sort may still send the
	// other.
	PerProject int
	// Starting bounds the requests of all projects that start operations, so that some handlers
	// remain for requests that read.
	Starting int
	// Waiting bounds the further requests of a project, for each sort, that wait for their turn.
	// Requests beyond it are refused. The RPC server needs room for the waiting requests.
	Waiting int
}

// admission lets requests start within the bounds, in order of arrival as far as the bounds allow.
type admission struct {
	most Handlers

	mu       sync.Mutex
	working  map[share]int
	total    int
	starting int
	waiting  map[share]int
	line     []*waiter // in the order of arrival
}

// share is the key under which the requests of a project are counted.
type share struct {
	project string
	starts  bool // requests that start operations
}

// waiter is a request that waits for its turn.
type waiter struct {
	share share
	turn  chan struct{} // closed when the request may start
}

var errTooManyWait = errors.New("as many requests of the project are waiting as one project may have waiting")

func newAdmission(most Handlers) *admission {
	return &admission{most: most, working: map[share]int{}, waiting: map[share]int{}}
}

// enter waits until a request may start and admits it. The caller must call leave at its end.
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
	return leave, nil // the turn came at the same moment
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

// remove removes a request from the line.
func (a *admission) remove(at int) {
	s := a.line[at].share
	a.line = slices.Delete(a.line, at, at+1)
	if a.waiting[s]--; a.waiting[s] == 0 {
		delete(a.waiting, s)
	}
}

// leave ends a request and starts the first waiting one that the bounds allow.
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

// untilAbandoned returns a context that also ends when the request's caller gives up.
func untilAbandoned(ctx context.Context, r *rpc.Request) (context.Context, context.CancelFunc) {
	if r.Deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, r.Deadline, rpc.ErrAbandoned)
}
