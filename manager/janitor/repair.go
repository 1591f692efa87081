// SPDX-License-Identifier: Apache-2.0

package janitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// count summarises a pass over all banks.
type count struct{ found, repaired, failed, orphans int }

// pass checks every bank and cleans up the journal.
func (j *Janitor) pass(ctx context.Context) {
	c := j.round(ctx, func(text string) { j.config.Log.Warn(text) })
	if ctx.Err() != nil {
		return
	}
	pruned, err := j.config.Journal.Prune(ctx, j.config.Now().Add(-j.config.Retention))
	if err != nil && ctx.Err() == nil {
		j.config.Log.Errorf("clear the journal: %v", err)
	}
	j.config.Log.Infof("looked at %d banks: %d issues, %d repaired, %d are kept for want of an index.json, %d attempts failed; "+
		"%d operations dropped from the journal", len(j.config.Providers), c.found, c.repaired, c.orphans, c.failed, pruned)
}

// round checks every bank once and repairs issues that have existed for long enough. It calls tell
// for each repair.
func (j *Janitor) round(ctx context.Context, tell func(string)) (c count) {
	for _, p := range j.config.Providers {
		if ctx.Err() != nil {
			break
		}
		began := j.config.Now()
		found, err := j.look(ctx, p)
		if err != nil {
			if ctx.Err() == nil {
				c.failed++
				j.config.Log.Errorf("look at the bank of provider %s: %v", p.ID, err)
			}
			continue
		}
		c.found += len(found)
		// The time of an issue counts from the end of the check, since the check sees it at an
		// unknown moment before.
		before, now := j.marks[p.ID], marks{}
		ended := j.config.Now()
		for _, f := range found {
			seen, known := before[f]
			if !known {
				seen.since = ended
			}
			now[f] = seen
			if !known || began.Sub(seen.since) < graceOf(p, f.Kind) {
				continue
			}
			if f.Kind.Orphan() && !j.config.RemoveOrphans {
				c.orphans++
				if !seen.reported {
					tell(j.describe(p, f))
				}
				now[f] = mark{seen.since, true}
				continue
			}
			switch done, err := j.repair(ctx, p, f); {
			case ctx.Err() != nil:
				return c
			case err != nil:
				c.failed++
				j.config.Log.Errorf("not done: %s: %v", j.describe(p, f), err)
			default:
				delete(now, f)
				if done {
					c.repaired++
					tell(j.describe(p, f))
				}
			}
		}
		j.marks[p.ID] = now
	}
	j.orphans.Store(int64(c.orphans))
	return c
}

// workerGone is the reason that users read for an operation whose owner is dead.
const workerGone = "The worker that had this operation is gone"

// repair repairs an issue, if it still exists. done is false if the issue has disappeared by
// itself.
func (j *Janitor) repair(ctx context.Context, p *providers.Provider, f checkpoint.Issue) (done bool, err error) {
	if still, err := p.Checkpoints.Confirm(ctx, f); err != nil || !still {
		return false, err
	}
	if left, err := j.left(ctx, p, f); err != nil || !left {
		return false, err
	}
	if f.Kind == checkpoint.Unfinished {
		// Only a worker that may write to the bank may write these rows.
		if err := guard.Allowed(ctx); err != nil {
			return false, err
		}
		// Close the rows first: once the status is written, the issue is gone.
		if err := j.closeRows(ctx, f); err != nil {
			return false, err
		}
	}
	return p.Checkpoints.Repair(ctx, f)
}

func (j *Janitor) closeRows(ctx context.Context, f checkpoint.Issue) error {
	var failed error
	for _, row := range []struct {
		kind   protection.Kind
		status checkpoint.Status
	}{{protection.Protect, checkpoint.Error}, {protection.Copy, checkpoint.Error}, {protection.Delete, checkpoint.ErrorDeleting}} {
		_, err := j.config.Records.CloseOperationLogs(ctx, f.ID, string(row.kind), string(row.status), workerGone, j.config.Now())
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return fmt.Errorf("closing the operation logs: %w", failed)
	}
	return nil
}

// grace is how long an issue must exist before it is repaired, unless a lease says otherwise.
const grace = 600 * time.Second

// graceOf returns the grace period of a provider's issues. An owner is dead once its lease has been
// gone for as long as the lease lasts. The period is never shorter than grace: an operation that
// the journal does not know belongs to another database or to a Python worker, which renews its
// lease late and with short windows loses it now and then.
func graceOf(p *providers.Provider, f checkpoint.Kind) time.Duration {
	if lease := p.Lease(); lease != nil && f == checkpoint.Unfinished {
		return max(grace, lease.Windows().Expire)
	}
	return grace
}

// Orphans returns the number of entries and data without an index.json that the last pass found and
// kept.
func (j *Janitor) Orphans() int { return int(j.orphans.Load()) }

// mark records since when an issue is known, and whether it was reported.
type mark struct {
	since    time.Time
	reported bool
}

// marks are the issues that were seen.
type marks map[checkpoint.Issue]mark

// look returns the issues of a provider's bank that no operation is about to change.
func (j *Janitor) look(ctx context.Context, p *providers.Provider) ([]checkpoint.Issue, error) {
	var found []checkpoint.Issue
	known := sync.OnceValues(func() (map[string]bool, error) { return j.busy(ctx) })
	err := p.Checkpoints.Check(ctx, func(f checkpoint.Issue) error {
		if f.Kind == checkpoint.Tombstone && !j.outdated(f) {
			return nil
		}
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

// outdated reports whether a tombstone has been kept for long enough.
func (j *Janitor) outdated(f checkpoint.Issue) bool {
	return j.config.Tombstones > 0 && j.config.Now().Sub(time.Unix(f.Created, 0)) > j.config.Tombstones
}

// busy returns the checkpoints that operations are working on. It asks the journal once for all of
// them, since every checkpoint with a running operation looks unfinished. left detects operations
// that begin later.
func (j *Janitor) busy(ctx context.Context) (map[string]bool, error) {
	entries, err := j.config.Journal.List(ctx, journal.Filter{Unfinished: true})
	if err != nil {
		return nil, fmt.Errorf("looking for operations: %w", err)
	}
	busy := make(map[string]bool, len(entries))
	for i := range entries {
		busy[entries[i].CheckpointID] = true
	}
	delete(busy, "")
	return busy, nil
}

// left reports whether no operation works, or will resume its work, on the subject of an issue.
func (j *Janitor) left(ctx context.Context, p *providers.Provider, f checkpoint.Issue) (bool, error) {
	if f.Kind == checkpoint.Unfinished {
		a, err := j.config.Judge.Abandonment(ctx, p, f.ID, f.Owner)
		return a != operation.Attended, err
	}
	// Data belong to an operation as long as the journal knows the operation.
	filter := journal.Filter{CheckpointID: f.ID, Unfinished: f.Kind != checkpoint.OrphanedData, Limit: 1}
	entries, err := j.config.Journal.List(ctx, filter)
	if err != nil {
		return false, fmt.Errorf("looking for operations on checkpoint %s: %w", f.ID, err)
	}
	return len(entries) == 0, nil
}

// describe says how an issue is repaired.
func (j *Janitor) describe(p *providers.Provider, f checkpoint.Issue) string {
	head := "provider " + p.ID + ", checkpoint " + f.ID + ": "
	switch f.Kind {
	case checkpoint.Unfinished:
		return fmt.Sprintf("%sstatus %s instead of %s, whose owner %s is gone", head, f.Status.Ended(), f.Status, f.Owner)
	case checkpoint.StrayEntry:
		return head + "index entry " + f.Key + " removed, whose checkpoint was deleted"
	case checkpoint.StrayData:
		return head + "data removed, whose checkpoint was deleted"
	case checkpoint.MissingEntry:
		return head + "index entry " + f.Key + " written, which was missing"
	case checkpoint.Tombstone:
		return head + "index.json removed, whose checkpoint was deleted (tombstone_retention)"
	}
	what, removed := "data", "which have no index.json"
	if f.Kind == checkpoint.OrphanedEntry {
		what, removed = "index entry "+f.Key, "which leads to nothing"
	}
	if j.config.RemoveOrphans {
		return head + what + " removed, " + removed
	}
	return head + what + " kept, " + removed + " (--remove-orphans removes it)"
}

// ErrIncomplete reports that something could not be checked or repaired. The log has the details.
var ErrIncomplete = errors.New("not everything could be checked and repaired; the log says what")

// Plan checks the banks once and returns what Repair would do if nothing changed before its second
// check. It writes nothing. With ErrIncomplete the plan lacks what could not be checked.
func (j *Janitor) Plan(ctx context.Context) ([]string, error) {
	plan := []string{}
	var failed error
	for _, p := range j.config.Providers {
		found, err := j.look(ctx, p)
		if cause := context.Cause(ctx); cause != nil {
			return plan, cause
		}
		if err != nil {
			j.config.Log.Errorf("look at the bank of provider %s: %v", p.ID, err)
			failed = ErrIncomplete
			continue
		}
		for _, f := range found {
			plan = append(plan, j.describe(p, f))
		}
	}
	return plan, failed
}

// Repair checks the banks, waits for the grace period, checks again and repairs the issues that
// remain. It returns what it did, in the words of Plan. It waits while another janitor is at work.
// tell gets a line about each wait; it may be nil.
func (j *Janitor) Repair(ctx context.Context, tell func(string)) ([]string, error) {
	if tell == nil {
		tell = func(string) {}
	}
	ctx, end, ok := j.enter(ctx, true)
	if !ok {
		return nil, fmt.Errorf("wait for the janitor's lock: %w", context.Cause(ctx))
	}
	defer end()
	done := []string{}
	add := func(text string) {
		j.config.Log.Warn(text)
		done = append(done, text)
	}
	clear(j.marks)
	first := j.round(ctx, add)
	if first.found > 0 && ctx.Err() == nil {
		wait := j.longestGrace()
		tell(fmt.Sprintf("%d things look wrong; looking again in %s", first.found, wait))
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			second := j.round(ctx, add)
			first.failed += second.failed
		case <-ctx.Done():
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return done, cause
	}
	if first.failed > 0 {
		return done, ErrIncomplete
	}
	return done, nil
}

func (j *Janitor) longestGrace() time.Duration {
	longest := grace
	for _, p := range j.config.Providers {
		if lease := p.Lease(); lease != nil {
			longest = max(longest, lease.Windows().Expire)
		}
	}
	return longest
}
