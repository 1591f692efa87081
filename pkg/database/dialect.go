// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// dialect is what differs from engine to engine.
type dialect interface {
	// open makes the pool of connections without connecting. Its errors hold
	// no secret.
	open(a address, o Options) (*sql.DB, error)
	// rebind turns the placeholders of a query, question marks, into the
	// engine's.
	rebind(query string) string
	// quote quotes a name.
	quote(name string) string
	// oneWriter reports whether only one transaction runs at a time: it needs no locks,
	// and the transactions of this process had better share a commit.
	oneWriter() bool
	// forUpdate ends a SELECT whose rows the transaction is going to write.
	forUpdate() string
	// timestamp is a naive UTC time as a query argument.
	timestamp(t time.Time) any
	// text is s without what the engine's tables cannot store.
	text(s string) string
	// renew drops connections that may keep rights which have changed since, if
	// the engine's do.
	renew(pool *sql.DB, o Options) bool
	// room is the number of bytes that the long values of a statement may have
	// together.
	room(ctx context.Context, tx *sql.Tx) (int, error)
	// longText is the number of bytes that a column of kind longText holds, 0 for
	// any.
	longText() int
	// insert runs an INSERT, already rebound, and returns the number that the
	// engine gave to the row.
	insert(ctx context.Context, tx *sql.Tx, query string, args []any) (int64, error)
	// columnType is the type of a column, tableOptions what follows the
	// columns of a CREATE TABLE.
	columnType(c column) string
	tableOptions() string
	// isolation is the level at which a locking read sees the newest state.
	isolation() sql.IsolationLevel
	// exact is a text as an argument for a column of type Text or LongText.
	exact(s string) any
	// now is an expression: microseconds since 1970 by the server's clock.
	now() string
	// onConflict ends an INSERT; see Tx.OnConflict.
	onConflict(key, columns []string) string
	// ownType is the type of a column of a Table, indexesInTable reports whether
	// CREATE TABLE makes the indexes too.
	ownType(c Column) string
	indexesInTable() bool
	// classify knows the errors of the engine; others are unknown.
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
