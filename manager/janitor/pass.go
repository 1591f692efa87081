// SPDX-License-Identifier: Apache-2.0

package janitor

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// count is what a look at all banks came to.
type count struct{ found, mended, failed int }

// pass looks at every bank and clears the journal.
func (j *Janitor) pass(ctx context.Context) {
	c := j.round(ctx, func(text string) { j.config.Log.Warn(text) })
	if ctx.Err() != nil {
		return
	}
	pruned, err := j.config.Journal.Prune(ctx, j.config.Now().Add(-j.config.Retention))
	if err != nil && ctx.Err() == nil {
		j.config.Log.Errorf("clear the journal: %v", err)
	}
	j.config.Log.Infof("looked at %d banks: %d things look wrong, %d were mended, %d attempts failed; %d operations dropped from the journal",
		len(j.config.Providers), c.found, c.mended, c.failed, pruned)
}

// round looks at every bank once and mends what has looked wrong for long
// enough. Each repair is told.
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
		// From the end of the look on: a thing is seen once, whenever that was.
		before, now := j.marks[p.ID], marks{}
		ended := j.config.Now()
		for _, f := range found {
			since, known := before[f]
			if !known {
				since = ended
			}
			now[f] = since
			if !known || began.Sub(since) < graceOf(p, f.Flaw) {
				continue
			}
			switch done, err := j.mend(ctx, p, f); {
			case ctx.Err() != nil:
				return c
			case err != nil:
				c.failed++
				j.config.Log.Errorf("not done: %s: %v", describe(p, f), err)
			default:
				delete(now, f)
				if done {
					c.mended++
					tell(describe(p, f))
				}
			}
		}
		j.marks[p.ID] = now
	}
	return c
}

// workerGone is what users read about an operation whose owner is dead.
const workerGone = "The worker that had this operation is gone"

// mend ends a finding if it is one, right now. done is false when it has gone by
// itself.
func (j *Janitor) mend(ctx context.Context, p *providers.Provider, f checkpoint.Finding) (done bool, err error) {
	if still, err := p.Checkpoints.Holds(ctx, f); err != nil || !still {
		return false, err
	}
	if left, err := j.left(ctx, p, f); err != nil || !left {
		return false, err
	}
	if f.Flaw == checkpoint.Unended {
		// The rows are for those who may write to the bank.
		if err := guard.Allowed(ctx); err != nil {
			return false, err
		}
		// They come first: with the status the finding is gone.
		if err := j.closeRows(ctx, f); err != nil {
			return false, err
		}
	}
	return p.Checkpoints.Mend(ctx, f)
}

func (j *Janitor) closeRows(ctx context.Context, f checkpoint.Finding) error {
	var failed error
	for _, row := range []struct {
		kind   protection.Kind
		status checkpoint.Status
	}{{protection.Protect, checkpoint.Error}, {protection.Copy, checkpoint.Error}, {protection.Delete, checkpoint.ErrorDeleting}} {
		_, err := j.config.Records.CloseOperationLogs(ctx, f.ID, string(row.kind), string(row.status), workerGone, j.config.Now())
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return fmt.Errorf("close the operation logs: %w", failed)
	}
	return nil
}
