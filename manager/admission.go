// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"errors"
	"sync"
)

// Handlers bounds the requests that are worked on at a time. 0 is no bound.
type Handlers struct {
	// PerProject bounds those of one project, what starts operations and what reads
	// apart: a project that has too much of the one may still ask for the other.
	PerProject int
	// Starting bounds what starts operations of all projects, so that some handlers
	// are left to what reads.
	Starting int
}

// admission counts the requests that are worked on. One that is too many is refused:
// to let it wait would take the handler that it is kept from, and what stands behind it
// in the queue would wait with it.
type admission struct {
	most Handlers

	mu       sync.Mutex
	working  map[share]int
	starting int
}

// share is what the requests of a project are counted under.
type share struct {
	project string
	starts  bool // operations
}

var (
	errTooManyOfProject = errors.New("as many requests of the project are being worked on as one project may have")
	errTooManyStarting  = errors.New("as many operations are being started as the service may start at a time")
)

func newAdmission(most Handlers) *admission { return &admission{most: most, working: map[share]int{}} }

// enter admits a request until leave is called.
func (a *admission) enter(s share) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.most.PerProject > 0 && a.working[s] >= a.most.PerProject:
		return nil, errTooManyOfProject
	case s.starts && a.most.Starting > 0 && a.starting >= a.most.Starting:
		return nil, errTooManyStarting
	}
	a.working[s]++
	if s.starts {
		a.starting++
	}
	return func() { a.leave(s) }, nil
}

func (a *admission) leave(s share) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.working[s]--; a.working[s] == 0 {
		delete(a.working, s)
	}
	if s.starts {
		a.starting--
	}
}
