// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// assignment is a column that gets a new value.
type assignment struct {
	column string
	value  any
}

// read runs a SELECT of columns of one row that is not marked as deleted, and
// scans it. It returns sql.ErrNoRows if there is none.
func (db *DB) read(ctx context.Context, tx *sql.Tx, table, columns, id string, lock bool, to ...any) error {
	query := "SELECT " + columns + " FROM " + table + " WHERE id = ? AND deleted = ?"
	if lock {
		query += db.dialect.forUpdate()
	}
	return tx.QueryRowContext(ctx, db.dialect.rebind(query), id, false).Scan(to...)
}

// write updates a row. With nothing to assign it leaves the row, updated_at
// included, as it is.
func (db *DB) write(ctx context.Context, tx *sql.Tx, table string, id any, assignments []assignment) error {
	if len(assignments) == 0 {
		return nil
	}
	var set strings.Builder
	set.WriteString("updated_at = ?")
	args := []any{db.now()}
	for _, a := range assignments {
		set.WriteString(", " + a.column + " = ?")
		args = append(args, a.value)
	}
	query := "UPDATE " + table + " SET " + set.String() + " WHERE id = ?"
	_, err := tx.ExecContext(ctx, db.dialect.rebind(query), append(args, id)...)
	return err
}

// wrap says what failed, except that a missing row is notFound.
func wrap(err error, notFound error, doing, id string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return notFound
	}
	return fmt.Errorf("%s %s: %w", doing, id, err)
}

// nullable makes an empty text NULL.
func nullable(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
