// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"time"

	"github.com/karbor-project/karbor/pkg/journal"
)

// Worker is one run of a worker, as its announcement in the journal tells. Times are UTC.
type Worker struct {
	ID    string `json:"id"`
	Host  string `json:"host"`
	State string `json:"state"` // up, down, or stopped: in order
	// SeenAt is when it has announced itself last, by the clock of the database.
	SeenAt     time.Time `json:"seen_at"`
	Operations int       `json:"operations"` // that are its own and have not ended
}

// The states of a worker.
const (
	workerUp      = "up"
	workerDown    = "down"
	workerStopped = "stopped"
)

// workersPage is how many operations are held at a time to count them.
const workersPage = 1000

// Workers lists the workers that share the journal, in the order of their ids.
func (e *Engine) Workers(ctx context.Context) ([]Worker, error) {
	owners, err := e.journal.Owners(ctx)
	if err != nil {
		return nil, unrecorded(err)
	}
	own := map[string]int{}
	for f := (journal.Filter{Unfinished: true, Limit: workersPage}); ; {
		page, err := e.journal.List(ctx, f)
		if err != nil {
			return nil, unrecorded(err)
		}
		for i := range page {
			own[page[i].Owner]++
			f.Marker = page[i].ID
		}
		if len(page) < f.Limit {
			break
		}
	}
	workers := make([]Worker, len(owners))
	for i, o := range owners {
		workers[i] = Worker{ID: o.ID, Host: o.Host, State: workerDown, SeenAt: o.Announced.UTC(), Operations: own[o.ID]}
		switch {
		case o.Retired:
			workers[i].State = workerStopped
		case o.Live:
			workers[i].State = workerUp
		}
	}
	return workers, nil
}
