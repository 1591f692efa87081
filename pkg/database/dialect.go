// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// dialect covers the differences between the engines.
type dialect interface {
	// open makes the pool of connections without connecting. Its errors contain no
	// secret.
	open(a address, o Options) (*sql.DB, error)
	// rebind replaces the placeholders of a query, question marks, by the engine's.
	rebind(query string) string
	// quote quotes a name.
	quote(name string) string
	// oneWriter reports whether only one transaction runs at a time. Such an engine
	// needs no locks, and the transactions of this process should share a commit.
	oneWriter() bool
	// forUpdate ends a SELECT whose rows the transaction is about to write.
	forUpdate() string
	// timestamp returns a naive UTC time as a query argument.
	timestamp(t time.Time) any
	// text returns s without characters that the engine's tables cannot store.
	text(s string) string
	// renew drops connections whose rights may be outdated, if the engine stores rights
	// with the connection.
	renew(pool *sql.DB, o Options) bool
	// room returns the number of bytes that the long values of a statement may have
	// together.
	room(ctx context.Context, tx *sql.Tx) (int, error)
	// longText is the capacity of a column of kind longText in bytes, 0 for unlimited.
	longText() int
	// insert runs an INSERT whose placeholders are already rebound and returns the id
	// that the engine assigned to the row.
	insert(ctx context.Context, tx *sql.Tx, query string, args []any) (int64, error)
	// columnType returns the type of a column, tableOptions the text after the columns
	// of a CREATE TABLE.
	columnType(c column) string
	tableOptions() string
	// isolation is the level at which a locking read sees the newest state.
	isolation() sql.IsolationLevel
	// exact returns a text as an argument for a column of type Text or LongText.
	exact(s string) any
	// now returns an expression for microseconds since 1970 by the server's clock.
	now() string
	// onConflict ends an INSERT; see Tx.OnConflict.
	onConflict(key, columns []string) string
	// ownType returns the type of a column of a Table. indexesInTable reports whether
	// CREATE TABLE creates the indexes too.
	ownType(c Column) string
	indexesInTable() bool
	// classify recognises the errors of the engine; all others are unknown.
	classify(err error) class
}

var dialects = map[string]dialect{
	"mysql":      mysqlDialect{},
	"postgresql": postgresDialect{},
	"sqlite":     sqliteDialect{},
}

func dialectOf(a address) (dialect, error) {
	d, ok := dialects[a.backend]
	if !ok {
		return nil, fmt.Errorf("no support for databases of kind %q: use mysql, postgresql or sqlite", a.backend)
	}
	return d, nil
}

func pooled(db *sql.DB, o Options) *sql.DB {
	db.SetMaxOpenConns(o.MaxConns)
	db.SetMaxIdleConns(o.MaxIdleConns)
	db.SetConnMaxLifetime(o.ConnLifetime)
	return db
}

func lastInsertID(ctx context.Context, tx *sql.Tx, query string, args []any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}
