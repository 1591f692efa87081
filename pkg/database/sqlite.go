// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteDialect is the dialect of SQLite.
type sqliteDialect struct{}

var _ dialect = sqliteDialect{}

// open uses one connection only: SQLite has one writer in any case, and an in-memory
// database belongs to one connection. So every transaction of this process runs alone.
// It waits for other processes up to busy_timeout. A commit is on disk when it returns,
// as the journal of operations guarantees.
func (sqliteDialect) open(a address, _ Options) (*sql.DB, error) {
	if a.host != "" {
		return nil, errors.New("a path of SQLite follows three slashes, an absolute one four")
	}
	params := url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"},
		"_txlock": {"immediate"},
	}
	file := "file::memory:"
	if a.name != "" && a.name != ":memory:" {
		if err := os.MkdirAll(filepath.Dir(a.name), 0o750); err != nil {
			return nil, fmt.Errorf("making the folder of the database: %w", err)
		}
		file = "file:" + (&url.URL{Path: a.name}).EscapedPath()
	}
	connector, err := sqlite.NewConnector(file + "?" + params.Encode())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(preparing{Connector: connector})
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	return db, nil
}

func (sqliteDialect) rebind(query string) string { return query }
func (sqliteDialect) quote(name string) string   { return `"` + name + `"` }
func (sqliteDialect) oneWriter() bool            { return true }
func (sqliteDialect) forUpdate() string          { return "" } // a transaction begins with the write lock
func (sqliteDialect) text(s string) string       { return s }

// sqlalchemy: dialects/sqlite/base.py, storage format of DATETIME
func (sqliteDialect) timestamp(t time.Time) any { return t.Format("2006-01-02 15:04:05.000000") }

func (sqliteDialect) insert(ctx context.Context, tx *sql.Tx, query string, args []any) (int64, error) {
	return lastInsertID(ctx, tx, query, args)
}

func (sqliteDialect) columnType(c column) string {
	switch c.kind {
	case serial:
		return "INTEGER NOT NULL"
	case integer:
		return "INTEGER"
	case boolean:
		return "BOOLEAN"
	case datetime:
		return "DATETIME"
	case longText:
		return "TEXT"
	default:
		return fmt.Sprintf("VARCHAR(%d)", c.size)
	}
}

func (sqliteDialect) renew(*sql.DB, Options) bool { return false }

func (sqliteDialect) room(context.Context, *sql.Tx) (int, error) { return math.MaxInt, nil }

func (sqliteDialect) longText() int { return 0 }

func (sqliteDialect) tableOptions() string { return "" }

// isolation returns the engine's only isolation level.
func (sqliteDialect) isolation() sql.IsolationLevel { return sql.LevelDefault }
func (sqliteDialect) exact(s string) any            { return s }
func (sqliteDialect) indexesInTable() bool          { return false }

func (sqliteDialect) now() string { return "CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)" }

func (sqliteDialect) onConflict(key, columns []string) string {
	return standardOnConflict(key, columns)
}

func (sqliteDialect) ownType(c Column) string {
	switch c.Type {
	case Text, LongText:
		return "TEXT"
	case Int64:
		return "INTEGER"
	default:
		return "BLOB"
	}
}

func (sqliteDialect) classify(err error) class {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return unknown
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return duplicate
	}
	switch e.Code() & 0xff { // the rest is detail
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_SCHEMA:
		return conflict
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT:
		return unreachable
	case sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY:
		return denied
	case sqlite3.SQLITE_TOOBIG:
		return tooLarge
	case sqlite3.SQLITE_CONSTRAINT:
		return constraint
	case sqlite3.SQLITE_ERROR: // it has no number of its own
		if text := e.Error(); strings.Contains(text, "no such table") || strings.Contains(text, "no such column") {
			return missing
		}
	}
	return refused
}
