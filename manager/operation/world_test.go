// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/resource"
)

// world is what outlives the processes of a worker, and what was seen of them.
// Every call of a process takes a while of fake time that only the seed and the
// call decide, so that a seed always means the same order of events.
type world struct {
	scenario *scenario
	journal  *journaltest.Memory
	bank     *banktest.Memory
	records  *memoryRecords
	leases   *leaseTable
	log      *logrus.Logger

	closed chan struct{} // when the last operation has ended on record

	mu        sync.Mutex
	wrong     []string
	calls     map[string]int
	ids       map[string]string
	written   int       // calls of hiccup
	passed    int       // moments at which a process could have died
	back      time.Time // when what is away comes back
	accepted  bool
	asked     bool // for the end of the operation
	cancelled bool
	open      map[string]bool // by entry
	told      map[string]bool // that it succeeded, by entry
	hooks     map[step]*history
	undone    map[resource.Key]bool
}

// step is a hook of a resource, in the operation on a checkpoint.
type step struct {
	checkpoint string
	resource   resource.Key
	hook       string
}

func (s step) String() string { return s.hook + " of " + s.resource.String() }

// history is what was seen of a step.
type history struct {
	running  int
	ended    bool // well, at least once
	recorded bool // as having ended well
	token    string
}

func newWorld(s *scenario) *world {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &world{
		scenario: s, journal: journaltest.NewMemory(time.Now), bank: banktest.NewMemory(), log: log,
		records: &memoryRecords{logs: map[string]database.OperationLog{}, restores: map[string]database.Record{}},
		leases:  &leaseTable{expires: map[string]time.Time{}}, closed: make(chan struct{}),
		calls: map[string]int{}, ids: map[string]string{}, open: map[string]bool{}, told: map[string]bool{}, hooks: map[step]*history{}, undone: map[resource.Key]bool{},
	}
}

func (w *world) complain(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// over tells whether there were operations and all have ended on record.
func (w *world) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isOver()
}

func (w *world) isOver() bool { return len(w.open) == w.scenario.sources && !w.anyOpen() }

func (w *world) anyOpen() bool {
	for _, open := range w.open {
		if open {
			return true
		}
	}
	return false
}

func (w *world) history(s step) *history {
	h := w.hooks[s]
	if h == nil {
		h = &history{}
		w.hooks[s] = h
	}
	return h
}
