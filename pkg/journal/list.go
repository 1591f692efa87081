// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/karbor-project/karbor/pkg/database"
)

// List implements Journal.
func (j *SQL) List(ctx context.Context, f Filter) ([]Entry, error) {
	var found []Entry
	err := j.transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
		found, err = list(ctx, tx, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list operations: %w", err)
	}
	return found, nil
}

func list(ctx context.Context, tx database.Tx, f Filter) ([]Entry, error) {
	conditions, args := []string{"1 = 1"}, []any(nil)
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	for _, c := range []struct{ column, want string }{
		{"project_id", f.ProjectID}, {"provider_id", f.ProviderID}, {"checkpoint_id", f.CheckpointID}, {"owner", f.Owner}, {"kind", f.Kind},
	} {
		switch {
		case !storable(c.want):
			return nil, nil // no entry has it
		case c.want != "":
			add(c.column+" = ?", c.want)
		}
	}
	if f.Unfinished {
		add("state IN (?, ?)", string(Queued), string(Running))
	}
	if f.Cancelling {
		add("cancelled_by <> ?", "")
	}
	if f.Marker != "" {
		created, err := marker(ctx, tx, f)
		if err != nil {
			return nil, err
		}
		add("(created_at < ? OR (created_at = ? AND id < ?))", created, created, f.Marker)
	}
	query := "SELECT " + entryColumns + " FROM protection_operations WHERE " + strings.Join(conditions, " AND ") + " ORDER BY created_at DESC, id DESC"
	if f.Limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Entry
	for rows.Next() {
		e, _, err := scanEntry(rows.Scan)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, rows.Err()
}

func marker(ctx context.Context, tx database.Tx, f Filter) (created int64, err error) {
	id, project := f.Marker, ""
	if !storable(id) {
		return 0, fmt.Errorf("after %q: %w", id, ErrNotFound)
	}
	err = tx.QueryRow(ctx, "SELECT created_at, project_id FROM protection_operations WHERE id = ?", id).Scan(&created, &project)
	if errors.Is(err, sql.ErrNoRows) || err == nil && f.ProjectID != "" && project != f.ProjectID {
		err = fmt.Errorf("after %q: %w", id, ErrNotFound)
	}
	return created, err
}

// Marks implements Journal.
func (j *SQL) Marks(ctx context.Context, id, prefix string) ([]Mark, error) {
	var marks []Mark
	err := j.transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
		marks = nil
		if !storable(id) || len(prefix) > MaxKey {
			return nil // no mark has it
		}
		query, args := "SELECT mark, document FROM protection_marks WHERE operation = ? AND mark >= ?", []any{id, []byte(prefix)}
		if end := after(prefix); end != nil {
			query, args = query+" AND mark < ?", append(args, end)
		}
		rows, err := tx.Query(ctx, query+" ORDER BY mark", args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key, value []byte
			if err := rows.Scan(&key, &value); err != nil {
				return err
			}
			marks = append(marks, Mark{Key: string(key), Value: value})
		}
		return rows.Err()
	})
	if err != nil {
		return nil, named(err, "read marks of operation", id)
	}
	return marks, nil
}

// after is the first key behind all that begin with prefix, nil if there is no
// end of them.
func after(prefix string) []byte {
	end := []byte(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return nil
	}
	end[len(end)-1]++
	return end
}
