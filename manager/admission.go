// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"fmt"
	"sync"

	"github.com/karbor-project/karbor/pkg/fault"
)

// admission bounds the requests of one project that are worked on at a time, so that
// those of others find a free handler. What starts operations and what reads are
// counted apart: a project that has too much of the one may still ask for the other.
// A request that is one too many is refused: to let it wait would take the handler
// that it is kept from.
type admission struct {
	most int // 0: no bound

	mu      sync.Mutex
	working map[share]int
}

// share is what the requests of a project are counted under.
type share struct {
	project string
	starts  bool // operations
}

func newAdmission(most int) *admission { return &admission{most: most, working: map[share]int{}} }

// enter admits a request until leave is called.
func (a *admission) enter(s share) (leave func(), err error) {
	if a.most <= 0 {
		return func() {}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.working[s] >= a.most {
		return nil, fault.InvalidInput(fmt.Sprintf("%d requests of the project are being worked on, which is as many as one project may have: ask again later.", a.most))
	}
	a.working[s]++
	return func() { a.leave(s) }, nil
}

func (a *admission) leave(s share) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.working[s]--; a.working[s] == 0 {
		delete(a.working, s)
	}
}
