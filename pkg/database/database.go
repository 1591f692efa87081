// SPDX-License-Identifier: Apache-2.0

// Package database reads and writes karbor's own tables, which the protection
// service shares with karbor-api and its relatives in Python: services,
// operation_logs, restores and verifications, on MySQL or MariaDB, PostgreSQL
// and SQLite. What a row looks like after a write is what the Python service
// would have left.
package database

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"
)

// Options of a database. The zero value is usable.
type Options struct {
	// Log receives one line when the database cannot be reached any more and
	// one when it can again; nil discards them.
	Log logrus.FieldLogger

	// StatePath is the folder of karbor.sqlite, the database where no URL is
	// given.
	StatePath string

	// Clock gives the time of created_at and updated_at; nil means time.Now.
	Clock func() time.Time

	// NewID makes the id of a row; nil means a random UUID.
	NewID func() string

	// Retry says how long a call goes on when the database cannot be reached
	// or is locked; nil means DefaultRetry.
	Retry *Retry

	// MaxConns and MaxIdleConns bound the pool of connections, ConnLifetime
	// the age of one. Zero means 55, 5 and an hour. SQLite has one connection.
	//
	// oslo.db: max_pool_size 5, max_overflow 50, connection_recycle_time 3600
	MaxConns     int
	MaxIdleConns int
	ConnLifetime time.Duration

	// Abandoned is after how long, in whole seconds, a server rolls a transaction
	// back whose client does not go on with it, as when its process is stopped.
	// Its locks would keep others waiting for as long. 0 is 10 s. MySQL has no such
	// setting; MariaDB has it since 10.3.
	Abandoned time.Duration
}

func (o Options) filled() Options {
	if o.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		o.Log = silent
	}
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
// Each method is one transaction, repeated as Options.Retry says when the
// database cannot be reached or another transaction is in the way. A repeated
// method leaves what one call would have left, except that a heartbeat whose
// answer was lost may count twice.
type DB struct {
	pool    *sql.DB
	dialect dialect
	options Options
	outage  outage

	mu       sync.Mutex
	services map[int64]Service // registered here, by id
}

// Open prepares a database named by a URL of SQLAlchemy, empty for the SQLite
// file in Options.StatePath. It does not connect: a database that is down is
// no error. The context is for the preparation only.
//
// Errors: a URL that cannot be understood, certificates that cannot be read.
// They never show the password.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	o = o.filled()
	a := address{backend: "sqlite", name: filepath.Join(o.StatePath, "karbor.sqlite")}
	if url != "" {
		var err error
		if a, err = parseAddress(url); err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
	}
	d, err := dialectOf(a)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	pool, err := d.open(a, o)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", a, err)
	}
	return &DB{
		pool:     pool,
		dialect:  d,
		options:  o,
		outage:   outage{log: o.Log.WithField("database", a.String()), clock: o.Clock},
		services: make(map[int64]Service),
	}, nil
}

// Close closes the connections. It waits for statements that run.
func (db *DB) Close() error { return db.pool.Close() }

// Ping tries once to reach the database.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.pool.PingContext(ctx); err != nil {
		return fmt.Errorf("reach database: %w", err)
	}
	return nil
}

// now is the time as rows keep it.
func (db *DB) now() any { return db.timestamp(db.options.Clock()) }

// timestamp makes a time naive UTC with microseconds, as Python has them.
func (db *DB) timestamp(t time.Time) any {
	return db.dialect.timestamp(t.UTC().Truncate(time.Microsecond))
}
