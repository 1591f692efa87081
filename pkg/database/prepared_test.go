// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
)

// kept returns how many statements a connection of a database keeps.
func kept(t *testing.T, db *DB) (n int) {
	t.Helper()
	conn, err := db.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(c any) error {
		n = len(c.(*preparedConn).kept)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A connection keeps the statements that have values, not all of those that there ever
// were, and none that has failed.
func TestStatementsAreKept(t *testing.T) {
	t.Parallel()
	db := openTest(t, "sqlite://", Options{})
	if err := db.run(t.Context(), "CREATE TABLE kept (id INTEGER PRIMARY KEY, word TEXT)"); err != nil {
		t.Fatal(err)
	}
	insert := func(id int, word, more string) error {
		return db.do(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO kept (id, word) VALUES (?, ?)"+more, id, word)
			return err
		})
	}
	for id := range 3 {
		if err := insert(id, strings.Repeat("x", id*longValues), ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := kept(t, db); n != 1 {
		t.Errorf("%d statements are kept, want 1", n)
	}
	if err := insert(0, "", ""); !db.Duplicate(err) {
		t.Errorf("a second row: %v", err)
	}
	if n := kept(t, db); n != 0 {
		t.Errorf("%d statements are kept after a failure", n)
	}
	for n := range 3 * maxPrepared {
		if err := insert(10+n, "", fmt.Sprintf(" /* %d */", n)); err != nil {
			t.Fatal(err)
		}
	}
	if n := kept(t, db); n > maxPrepared {
		t.Errorf("%d statements are kept, at most %d should be", n, maxPrepared)
	}
	rows := 0
	err := db.do(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM kept WHERE id >= ?", 0).Scan(&rows)
	})
	if err != nil || rows != 3+3*maxPrepared {
		t.Errorf("%d rows, %v", rows, err)
	}
}
