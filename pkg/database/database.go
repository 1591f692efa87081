// SPDX-License-Identifier: Apache-2.0

// Package database reads and writes karbor's own tables, which the protection
// service shares with karbor-api and its relatives in Python: services,
// operation_logs, restores and verifications, on MySQL or MariaDB, PostgreSQL
// and SQLite. A written row is equal to
// the row that the Python service would have written.
package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/pkg/wait"
)

// Options of a database. The zero value is usable.
type Options struct {
	// Log receives one line when the database becomes unreachable and one when it is
	// reachable again; nil discards them.
	Log logrus.FieldLogger

	// StatePath is the folder of karbor.sqlite, the database used when no URL is given.
	StatePath string

	// Clock returns the time for created_at and updated_at; nil means time.Now.
	Clock func() time.Time

	// NewID returns the id of a new row; nil means a random UUID.
	NewID func() string

	// Retry states how long a call is retried when the database is unreachable or
	// locked; nil means DefaultRetry.
	Retry *Retry

	// MaxConns and MaxIdleConns bound the pool of connections, ConnLifetime the age of
	// a connection. Zero means 55, 5 and an hour. SQLite has one connection.
	//
	// oslo.db: max_pool_size 5, max_overflow 50, connection_recycle_time 3600
	MaxConns     int
	MaxIdleConns int
	ConnLifetime time.Duration

	// Abandoned is the time, in whole seconds, after which a server rolls back a
	// transaction whose client has gone silent, for example because its process was
	// suspended. Its locks would block others for as long. 0 means 10 s. MySQL has no
	// such setting; MariaDB has it since 10.3.
	Abandoned time.Duration
}

func (o Options) filled() Options {
	o.Log = telemetry.OrDiscard(o.Log)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	if o.Retry == nil {
		retry := DefaultRetry()
		o.Retry = &retry
	}
	if o.MaxConns == 0 {
		o.MaxConns = 55
	}
	if o.MaxIdleConns == 0 {
		o.MaxIdleConns = 5
	}
	if o.ConnLifetime == 0 {
		o.ConnLifetime = time.Hour
	}
	if o.Abandoned == 0 {
		o.Abandoned = 10 * time.Second
	}
	return o
}

// DB is a database. It is safe for concurrent use.
//
// Each method is one transaction, repeated according to Options.Retry when the database
// is unreachable or another transaction conflicts. A repeated method has the effect of
// one call, except that a heartbeat whose answer was lost may count twice.
type DB struct {
	pool    *sql.DB
	dialect dialect
	options Options
	outage  outage
	commits *sharedCommits // nil: each transaction commits by itself

	mu       sync.Mutex
	services map[int64]Service // registered here, by id
}

// Open prepares a database given by an SQLAlchemy URL; an empty URL means the SQLite
// file in Options.StatePath. Open does not connect, so a database that is down is no
// error. The context applies to the preparation only.
//
// Open fails for a URL that it cannot parse and for certificates that it cannot read.
// Errors never show the password.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	o = o.filled()
	a := address{backend: "sqlite", name: filepath.Join(o.StatePath, "karbor.sqlite")}
	if url != "" {
		var err error
		if a, err = parseAddress(url); err != nil {
			return nil, fmt.Errorf("opening the database: %w", err)
		}
	}
	d, err := dialectOf(a)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	pool, err := d.open(a, o)
	if err != nil {
		return nil, fmt.Errorf("opening the database %s: %w", a, err)
	}
	db := &DB{
		pool:     pool,
		dialect:  d,
		options:  o,
		outage:   outage{log: o.Log.WithField("database", a.String()), clock: o.Clock},
		services: make(map[int64]Service),
	}
	if d.oneWriter() {
		db.commits = &sharedCommits{pool: pool}
	}
	return db, nil
}

// Close closes the connections. It waits for running statements.
func (db *DB) Close() error { return db.pool.Close() }

// Ping tries once to reach the database.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.pool.PingContext(ctx); err != nil {
		return fmt.Errorf("reaching the database: %w", err)
	}
	return nil
}

// now returns the time in the form stored in rows.
func (db *DB) now() any { return db.timestamp(db.options.Clock()) }

// timestamp returns a time as naive UTC with microseconds, as Python does.
func (db *DB) timestamp(t time.Time) any {
	return db.dialect.timestamp(t.UTC().Truncate(time.Microsecond))
}

// Check returns nil if the tables that the service uses exist and the service may read
// and write them. Otherwise the error is a *RefusedError, Missing or Denied.
func (db *DB) Check(ctx context.Context) error {
	for _, t := range tables {
		if t.name == "checkpoint_records" {
			continue
		}
		if err := db.check(ctx, t.name, "updated_at"); err != nil {
			return err
		}
	}
	return nil
}

// Sync creates missing tables. It never changes a table that exists: where karbor-manage
// is installed, that tool owns the schema.
func (db *DB) Sync(ctx context.Context) error {
	for _, t := range tables {
		if err := db.define(ctx, t.name, createTable(db.dialect, t)); err != nil {
			return fmt.Errorf("making table %s: %w", t.name, err)
		}
	}
	return nil
}

// Transact runs f in one transaction and repeats it according to Options.Retry when the
// database is unreachable or another transaction conflicts. f must tolerate being
// repeated after a commit whose answer was lost. It must not keep the Tx.
func (db *DB) Transact(ctx context.Context, f func(context.Context, Tx) error) error {
	return db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return f(ctx, Tx{tx, db.dialect})
	})
}

// Duplicate reports whether a transaction failed because another committed transaction
// had inserted a row with one of its unique keys.
func (db *DB) Duplicate(err error) bool { return err != nil && db.classify(err) == duplicate }

// Transient reports whether a transaction failed because the database was unreachable
// or another transaction conflicted, regardless of its content.
func (db *DB) Transient(err error) bool {
	if err == nil {
		return false
	}
	c := db.classify(err)
	return c == unreachable || c == conflict
}

// CreateTables creates missing tables and indexes, and missing columns that may be NULL.
// Several processes may call it at once. A database user without the right to create
// tables gets no error for a table that exists.
func (db *DB) CreateTables(ctx context.Context, tables ...Table) error {
	for _, t := range tables {
		for _, statement := range t.statements(db.dialect) {
			if err := db.define(ctx, t.Name, statement); err != nil {
				return fmt.Errorf("making table %s: %w", t.Name, err)
			}
		}
		for _, c := range t.Columns {
			if err := db.addColumn(ctx, t.Name, c); err != nil {
				return fmt.Errorf("adding column %s to table %s: %w", c.Name, t.Name, err)
			}
		}
	}
	return nil
}

// addColumn adds a column that a table of an older version lacks. The column may be
// NULL, because workers of that version write rows without it.
func (db *DB) addColumn(ctx context.Context, table string, c Column) error {
	read := "SELECT " + c.Name + " FROM " + table + " WHERE 1 = 0"
	if !c.Null || db.run(ctx, read) == nil {
		return nil
	}
	err := db.run(ctx, "ALTER TABLE "+table+" ADD COLUMN "+c.Name+" "+db.dialect.ownType(c))
	if err != nil && db.run(ctx, read) == nil { // another process was first
		return nil
	}
	return err
}

// define runs a statement that does nothing if the table or index exists. It can still
// fail then: in PostgreSQL when another process creates the same at this moment, and on
// any server when the user has no right to create tables.
func (db *DB) define(ctx context.Context, table, statement string) error {
	const attempts = 10
	for n := 1; ; n++ {
		err := db.run(ctx, statement)
		if r := Refused(err); r != nil && r.Refusal == Denied && db.run(ctx, "SELECT 1 FROM "+table+" WHERE 1 = 0") == nil {
			return nil
		}
		if err == nil || n == attempts || db.classify(err) != duplicate {
			return err
		}
	}
}

// run runs one statement.
func (db *DB) run(ctx context.Context, statement string) error {
	return db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	})
}

// CheckTables returns nil if tables exist and may be read and written. Otherwise the
// error is a *RefusedError, Missing or Denied.
func (db *DB) CheckTables(ctx context.Context, tables ...Table) error {
	for _, t := range tables {
		columns := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			columns[i] = c.Name
		}
		all := "SELECT " + strings.Join(columns, ", ") + " FROM " + t.Name + " WHERE 1 = 0"
		if err := db.check(ctx, t.Name, t.Key[0], all, "DELETE FROM "+t.Name+" WHERE 1 = 0"); err != nil {
			return err
		}
	}
	return nil
}

// check runs statements that need rights on a table and change nothing.
func (db *DB) check(ctx context.Context, table, column string, further ...string) error {
	for _, statement := range append([]string{
		"SELECT 1 FROM " + table + " WHERE 1 = 0",
		"INSERT INTO " + table + " SELECT * FROM " + table + " WHERE 1 = 0",
		"UPDATE " + table + " SET " + column + " = " + column + " WHERE 1 = 0",
	}, further...) {
		if err := db.run(ctx, statement); err != nil {
			return fmt.Errorf("checking table %s: %w", table, err)
		}
	}
	return nil
}

// classify recognises the ways of losing a connection, which all drivers have in
// common.
func (db *DB) classify(err error) class {
	if errors.Is(err, errAttempt) {
		return unreachable
	}
	if c := db.dialect.classify(err); c != unknown {
		return c
	}
	var network net.Error
	switch {
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.As(err, &network):
		return unreachable
	}
	return permanent
}

// do runs f in a transaction and repeats it according to Options.Retry. f must tolerate
// being repeated after a commit whose answer was lost.
func (db *DB) do(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	retry, renewed := db.options.Retry, false
	for n := 0; ; n++ {
		err := db.attempt(ctx, f)
		if err == nil {
			db.outage.end()
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		c := db.classify(err)
		if c == unreachable {
			db.outage.begin(err)
		}
		if c != unreachable && c != conflict || retry.Max >= 0 && n >= retry.Max {
			if c == denied && !renewed && db.dialect.renew(db.pool, db.options) {
				renewed = true // rights may have been given since
				continue
			}
			return asRefusal(err, c)
		}
		if wait.Sleep(ctx, retry.wait(n, c)) != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// attempt runs f in one transaction, within the time of Retry.Attempt.
func (db *DB) attempt(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	if limit := db.options.Retry.Attempt; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errAttempt)
		defer cancel()
	}
	err := db.transaction(ctx, f)
	if err != nil && errors.Is(context.Cause(ctx), errAttempt) {
		return fmt.Errorf("%w: %w", errAttempt, err)
	}
	return err
}

func (db *DB) transaction(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	if db.commits != nil {
		return db.commits.do(ctx, f)
	}
	tx, err := db.pool.BeginTx(ctx, &sql.TxOptions{Isolation: db.dialect.isolation()})
	if err != nil {
		return err
	}
	if err := f(ctx, tx); err != nil {
		_ = tx.Rollback() // the failure of f says more
		return err
	}
	return tx.Commit()
}
