// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"strings"
)

// Tx is a transaction of another package that keeps tables of its own in this
// database (CreateTables). Its placeholders are question marks, and no query
// may have one in a literal. Texts go to MySQL as bytes, so that storing and comparing
// do not depend on the connection's character set.
//
// Its isolation is READ COMMITTED: a locking read sees what was committed when
// it got its lock. On SQLite each transaction is alone.
type Tx struct {
	tx      *sql.Tx
	dialect dialect
}

// Exec runs a statement and returns the number of rows that it matched. For an upsert,
// the meaning of the number depends on the engine.
func (t Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(ctx, t.dialect.rebind(query), t.arguments(args)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Query runs a query. The caller closes the rows.
func (t Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, t.dialect.rebind(query), t.arguments(args)...)
}

// QueryRow runs a query for one row.
func (t Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, t.dialect.rebind(query), t.arguments(args)...)
}

func (t Tx) arguments(args []any) []any {
	own := make([]any, len(args))
	for i, a := range args {
		if s, ok := a.(string); ok {
			a = t.dialect.exact(s)
		}
		own[i] = a
	}
	return own
}

// alwaysRoom is a size that every server accepts, so that the server need not be asked.
const alwaysRoom = 128 << 10

// Room returns how many of the wanted bytes the long values of one statement may have
// together, because MySQL servers bound the size of a statement.
func (t Tx) Room(ctx context.Context, wanted int) (int, error) {
	if wanted <= alwaysRoom {
		return wanted, nil
	}
	room, err := t.dialect.room(ctx, t.tx)
	return min(wanted, max(room, alwaysRoom)), err
}

// ForUpdate returns the end of a SELECT whose rows are locked until the transaction
// ends. The lock suffices when the transaction then writes the row; otherwise see Hold.
func (t Tx) ForUpdate() string { return t.dialect.forUpdate() }

// Hold locks rows of a table until the transaction ends and increments their column
// turn, a number that may be NULL. The nodes of a Galera cluster do not share locks,
// but when two transactions write a row on two nodes, one of them fails and is
// repeated. On SQLite transactions run alone, and nothing is written.
func (t Tx) Hold(ctx context.Context, table, where string, args ...any) error {
	if t.dialect.oneWriter() {
		return nil
	}
	_, err := t.Exec(ctx, "UPDATE "+table+" SET turn = COALESCE(turn, 0) + 1 WHERE "+where, args...)
	return err
}

// Now returns an expression for microseconds since 1970 by the server's clock, taken
// when the statement began or later. SQLite uses the machine's clock.
func (t Tx) Now() string { return t.dialect.now() }

// OnConflict returns the end of an INSERT into a table with that primary key and no
// other unique key: existing rows get the new values of the given columns, or stay
// unchanged if there are none. The rows of one statement must have different keys.
func (t Tx) OnConflict(key []string, columns ...string) string {
	return t.dialect.onConflict(key, columns)
}

// standardOnConflict is the onConflict of PostgreSQL and SQLite.
func standardOnConflict(key, columns []string) string {
	head := " ON CONFLICT (" + strings.Join(key, ", ") + ") DO "
	if len(columns) == 0 {
		return head + "NOTHING"
	}
	var set []string
	for _, c := range columns {
		set = append(set, c+" = excluded."+c)
	}
	return head + "UPDATE SET " + strings.Join(set, ", ")
}

// ColumnType is the type of a column of a Table.
type ColumnType int

// The types of columns.
const (
	Text      ColumnType = iota // of at most Size bytes, compared and ordered by them; MySQL's are bytes
	LongText                    // a text of any length that is not compared
	Bytes                       // at most Size bytes, ordered
	LongBytes                   // any number of bytes
	Int64
)

// Column is a column of a Table. Its name must not be an SQL keyword.
type Column struct {
	Name string
	Type ColumnType
	Size int
	Null bool
}

// Index is an index of a Table. Its name is unique in the database.
type Index struct {
	Name    string
	Unique  bool
	Columns []string
}

// Table is a table of another package. Its name has a prefix that karbor's own tables
// never have.
type Table struct {
	Name    string
	Columns []Column
	Key     []string
	Indexes []Index
}

func (t Table) statements(d dialect) []string {
	var lines, after []string
	for _, c := range t.Columns {
		line := c.Name + " " + d.ownType(c)
		if !c.Null {
			line += " NOT NULL"
		}
		lines = append(lines, line)
	}
	lines = append(lines, "PRIMARY KEY ("+strings.Join(t.Key, ", ")+")")
	for _, i := range t.Indexes {
		unique := ""
		if i.Unique {
			unique = "UNIQUE "
		}
		columns := " (" + strings.Join(i.Columns, ", ") + ")"
		if d.indexesInTable() {
			lines = append(lines, unique+"INDEX "+i.Name+columns)
		} else {
			after = append(after, "CREATE "+unique+"INDEX IF NOT EXISTS "+i.Name+" ON "+t.Name+columns)
		}
	}
	create := "CREATE TABLE IF NOT EXISTS " + t.Name + " (" + strings.Join(lines, ", ") + ")" + d.tableOptions()
	return append([]string{create}, after...)
}
