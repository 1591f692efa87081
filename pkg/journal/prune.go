// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/database"
)

// pruneBatch bounds a transaction of Prune, which others wait for.
const pruneBatch = 100

// Prune implements Journal. Locks that ran out before the time go too.
func (j *SQL) Prune(ctx context.Context, endedBefore time.Time) (int, error) {
	if err := j.enter(ctx); err != nil {
		return 0, err
	}
	defer j.leave()
	before, pruned := micros(endedBefore), 0
	for {
		n := 0
		err := j.db.Transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
			n, err = pruneEntries(ctx, tx, before)
			return err
		})
		if err != nil {
			return pruned, fmt.Errorf("prune operations: %w", err)
		}
		if n == 0 {
			break
		}
		pruned += n
	}
	err := j.db.Transact(ctx, func(ctx context.Context, tx database.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM protection_owners WHERE live_until <= "+tx.Now()+" AND announced_at < ? AND NOT EXISTS "+
			"(SELECT 1 FROM protection_operations o WHERE o.owner = protection_owners.id AND o.state IN (?, ?))", before, string(Queued), string(Running))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM protection_locks WHERE live_until <= "+tx.Now()+" AND live_until < ?", before)
		return err
	})
	if err != nil {
		return pruned, fmt.Errorf("prune owners: %w", err)
	}
	return pruned, nil
}

func pruneEntries(ctx context.Context, tx database.Tx, before int64) (int, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("SELECT id FROM protection_operations WHERE state = ? AND ended_at < ? ORDER BY id LIMIT %d", pruneBatch)+tx.ForUpdate(),
		string(Ended), before)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var ids []any
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return 0, err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return 0, err
	}
	in := " IN (?" + strings.Repeat(", ?", len(ids)-1) + ")"
	for _, statement := range []string{
		"DELETE FROM protection_inputs WHERE operation" + in,
		"DELETE FROM protection_marks WHERE operation" + in,
		"DELETE FROM protection_operations WHERE id" + in,
	} {
		if _, err := tx.Exec(ctx, statement, ids...); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}
