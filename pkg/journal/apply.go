// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/database"
)

// Bounds of one statement: rows for the sake of placeholders, bytes where the server
// bears so many.
const (
	statementRows  = 300
	statementBytes = 1 << 20
)

// apply does a batch of writes in a transaction and returns what each comes
// to: nil or ErrClaim.
func apply(ctx context.Context, tx database.Tx, batch []*write) ([]error, error) {
	claims, err := lockClaims(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	type place struct{ id, key string }
	last := map[place][]byte{} // of several marks at one place, the last counts
	errs := make([]error, len(batch))
	for i, w := range batch {
		if c, open := claims[w.id]; !open || c != w.claim {
			errs[i] = ErrClaim
			continue
		}
		for _, m := range w.marks {
			last[place{w.id, m.Key}] = m.Value
		}
	}
	// In one order, so that workers do not lock each other out.
	places := slices.SortedFunc(maps.Keys(last), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.key, b.key))
	})
	total := 0
	for p, value := range last {
		total += len(p.key) + len(value)
	}
	room, err := tx.Room(ctx, min(total, statementBytes))
	if err != nil {
		return nil, err
	}
	set, unset := statement{room: room}, statement{room: room}
	for _, p := range places {
		if value := last[p]; len(value) > 0 {
			err = set.add(ctx, tx, upsertMarks, len(value), p.id, []byte(p.key), value)
		} else {
			err = unset.add(ctx, tx, deleteMarks, len(p.key), p.id, []byte(p.key))
		}
		if err != nil {
			return nil, err
		}
	}
	if err := set.run(ctx, tx, upsertMarks); err != nil {
		return nil, err
	}
	return errs, unset.run(ctx, tx, deleteMarks)
}

// lockClaims locks the entries of a batch, so that nobody adopts or ends them
// before the commit, and returns the claims of those that have not ended.
func lockClaims(ctx context.Context, tx database.Tx, batch []*write) (map[string]Claim, error) {
	ids := map[string]bool{}
	for _, w := range batch {
		if storable(w.id) {
			ids[w.id] = true
		}
	}
	claims := map[string]Claim{}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(ids)), statementRows) {
		args := []any{string(Ended)}
		for _, id := range part {
			args = append(args, id)
		}
		query := "SELECT id, owner, generation FROM protection_operations WHERE state <> ? AND id IN (?" +
			strings.Repeat(", ?", len(part)-1) + ") ORDER BY id" + tx.ForUpdate()
		if err := readClaims(ctx, tx, claims, query, args); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

func readClaims(ctx context.Context, tx database.Tx, claims map[string]Claim, query string, args []any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var c Claim
		if err := rows.Scan(&id, &c.Owner, &c.Generation); err != nil {
			return err
		}
		claims[id] = c
	}
	return rows.Err()
}

func upsertMarks(tx database.Tx, rows int) string {
	return "INSERT INTO protection_marks (operation, mark, document) VALUES (?, ?, ?)" + strings.Repeat(", (?, ?, ?)", rows-1) +
		tx.OnConflict([]string{"operation", "mark"}, "document")
}

func deleteMarks(_ database.Tx, rows int) string {
	return "DELETE FROM protection_marks WHERE (operation = ? AND mark = ?)" + strings.Repeat(" OR (operation = ? AND mark = ?)", rows-1)
}

// statement gathers rows until one statement is full.
type statement struct {
	args []any
	rows int
	size int
	room int // of size
}

// add takes a row. What is there already is run first if there is no room.
func (s *statement) add(ctx context.Context, tx database.Tx, text func(database.Tx, int) string, size int, row ...any) error {
	if s.rows > 0 && (s.rows == statementRows || s.size+size > s.room) {
		if err := s.run(ctx, tx, text); err != nil {
			return err
		}
	}
	s.args, s.rows, s.size = append(s.args, row...), s.rows+1, s.size+size
	return nil
}

func (s *statement) run(ctx context.Context, tx database.Tx, text func(database.Tx, int) string) error {
	if s.rows == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, text(tx, s.rows), s.args...)
	*s = statement{room: s.room}
	return err
}
