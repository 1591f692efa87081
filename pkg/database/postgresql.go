// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresDialect is that of PostgreSQL.
type postgresDialect struct{}

var _ dialect = postgresDialect{}

// open takes the parameters of libpq, as psycopg2 does. The libpq environment
// and password files apply as well.
func (postgresDialect) open(a address, o Options) (*sql.DB, error) {
	settings := url.Values{}
	for name := range a.query {
		settings.Set(name, a.param(name))
	}
	for name, value := range map[string]string{
		"user": a.user, "password": a.password, "host": a.host, "port": a.port, "dbname": a.name,
	} {
		if value != "" {
			settings.Set(name, value)
		}
	}
	settings.Set("connect_timeout", cmp.Or(a.param("connect_timeout"), strconv.Itoa(int(dialTimeout.Seconds()))))
	c, err := pgx.ParseConfig(keywords(settings))
	if err != nil {
		return nil, errors.New("a parameter is not valid for PostgreSQL") // the driver's own text quotes the settings
	}
	// No named statements: they would not survive a pgbouncer in between.
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	// Not among the parameters of the connection's start, which pgbouncer may refuse.
	abandoned := fmt.Sprintf("SET idle_in_transaction_session_timeout = '%ds'", int(o.Abandoned.Seconds()))
	return pooled(stdlib.OpenDB(*c, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, abandoned, pgx.QueryExecModeSimpleProtocol)
		return err
	})), o), nil
}

// keywords writes settings in libpq's keyword form.
func keywords(settings url.Values) string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var parts []string
	for name := range settings {
		parts = append(parts, fmt.Sprintf("%s='%s'", name, escape.Replace(settings.Get(name))))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// rebind numbers the placeholders. No query of this package has a question
// mark in a literal.
func (postgresDialect) rebind(query string) string {
	var b strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			fmt.Fprintf(&b, "$%d", i)
		}
		b.WriteString(part)
	}
	return b.String()
}

func (postgresDialect) quote(name string) string  { return `"` + name + `"` }
func (postgresDialect) forUpdate() string         { return " FOR UPDATE" }
func (postgresDialect) timestamp(t time.Time) any { return t }

func (postgresDialect) insert(ctx context.Context, tx *sql.Tx, query string, args []any) (id int64, err error) {
	err = tx.QueryRowContext(ctx, query+" RETURNING id", args...).Scan(&id)
	return id, err
}

// text leaves out the one character that PostgreSQL cannot store.
func (postgresDialect) text(s string) string { return strings.ReplaceAll(s, "\x00", "") }

func (postgresDialect) columnType(c column) string {
	switch c.kind {
	case serial:
		return "SERIAL NOT NULL"
	case integer:
		return "INTEGER"
	case boolean:
		return "BOOLEAN"
	case datetime:
		return "TIMESTAMP WITHOUT TIME ZONE"
	case longText:
		return "TEXT"
	default:
		return fmt.Sprintf("VARCHAR(%d)", c.size)
	}
}

func (postgresDialect) tableOptions() string { return "" }

func (postgresDialect) isolation() sql.IsolationLevel { return sql.LevelReadCommitted }
func (postgresDialect) exact(s string) any            { return s }
func (postgresDialect) indexesInTable() bool          { return false }

// now does without now(), which is the time when the transaction began.
func (postgresDialect) now() string {
	return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
}

func (postgresDialect) onConflict(key, columns []string) string {
	return standardOnConflict(key, columns)
}

func (postgresDialect) ownType(c Column) string {
	switch c.Type {
	case Text:
		return fmt.Sprintf(`VARCHAR(%d) COLLATE "C"`, c.Size)
	case LongText:
		return "TEXT"
	case Int64:
		return "BIGINT"
	default:
		return "BYTEA"
	}
}

// classify goes by SQLSTATE.
func (postgresDialect) classify(err error) class {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		if pgconn.SafeToRetry(err) { // the connection had broken before
			return unreachable
		}
		return unknown
	}
	switch {
	case e.Code == "23505", e.Code == "42P07", e.Code == "42710": // unique_violation, duplicate_table (or index), duplicate_object
		return duplicate
	case e.Code == "40001", e.Code == "40P01", e.Code == "55P03": // serialization, deadlock, lock not available
		return conflict
	case strings.HasPrefix(e.Code, "08"), // connection exception
		strings.HasPrefix(e.Code, "57P"), // shutdown, starting up
		e.Code == "25P03",                // a transaction was idle for too long
		e.Code == "53300",                // too many connections
		e.Code == "25006":                // read-only, as after a failover
		return unreachable
	}
	return permanent
}
