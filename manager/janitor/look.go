// SPDX-License-Identifier: Apache-2.0

package janitor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers"
)

// grace is how long something has to look wrong, where no lease says otherwise.
const grace = 600 * time.Second

// graceOf is the grace of a provider's findings: an owner whose lease is gone
// for as long as it was good for is dead. It is no shorter than that of all others:
// what the journal does not know is another database's or a Python worker's, which
// renews its lease late, and with short windows loses it now and then.
func graceOf(p *providers.Provider, f checkpoint.Flaw) time.Duration {
	if lease := p.Lease(); lease != nil && f == checkpoint.Unended {
		return max(grace, lease.Windows().Expire)
	}
	return grace
}

// marks are findings, and when they were first seen.
type marks map[checkpoint.Finding]time.Time

// look returns what is wrong in a provider's bank and nobody is about to change.
func (j *Janitor) look(ctx context.Context, p *providers.Provider) ([]checkpoint.Finding, error) {
	var found []checkpoint.Finding
	known := sync.OnceValues(func() (map[string]bool, error) { return j.busy(ctx) })
	err := p.Checkpoints.Survey(ctx, func(f checkpoint.Finding) error {
		if busy, err := known(); err != nil || busy[f.ID] {
			return err
		}
		left, err := j.left(ctx, p, f)
		if left {
			found = append(found, f)
		}
		return err
	})
	return found, err
}

// busy returns the checkpoints that operations are at work on, with one question
// for all: every checkpoint that is at work looks as if it were not to stay so.
// Operations that begin later are found by left.
func (j *Janitor) busy(ctx context.Context) (map[string]bool, error) {
	entries, err := j.config.Journal.List(ctx, journal.Filter{Unfinished: true})
	if err != nil {
		return nil, fmt.Errorf("look for operations: %w", err)
	}
	busy := make(map[string]bool, len(entries))
	for i := range entries {
		busy[entries[i].CheckpointID] = true
	}
	delete(busy, "")
	return busy, nil
}

// left tells whether nobody works, or will go on, on what a finding is about.
func (j *Janitor) left(ctx context.Context, p *providers.Provider, f checkpoint.Finding) (bool, error) {
	if f.Flaw == checkpoint.Unended {
		a, err := j.config.Judge.Abandonment(ctx, p, f.ID, f.Owner)
		return a != operation.Attended, err
	}
	// Data are somebody's as long as it is known how they came to be.
	filter := journal.Filter{CheckpointID: f.ID, Unfinished: f.Flaw != checkpoint.OrphanedData, Limit: 1}
	entries, err := j.config.Journal.List(ctx, filter)
	if err != nil {
		return false, fmt.Errorf("look for operations on checkpoint %s: %w", f.ID, err)
	}
	return len(entries) == 0, nil
}

// describe says what is done about a finding.
func describe(p *providers.Provider, f checkpoint.Finding) string {
	head := "provider " + p.ID + ", checkpoint " + f.ID + ": "
	switch f.Flaw {
	case checkpoint.Unended:
		return fmt.Sprintf("%sstatus %s instead of %s, whose owner %s is gone", head, f.Status.Ended(), f.Status, f.Owner)
	case checkpoint.StrayEntry:
		return head + "index entry " + f.Key + " removed, which leads to nothing"
	case checkpoint.MissingEntry:
		return head + "index entry " + f.Key + " written, which was missing"
	}
	return head + "data removed, which have no index.json"
}
