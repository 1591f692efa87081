// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresDialect is the dialect of PostgreSQL.
type postgresDialect struct{}

var _ dialect = postgresDialect{}

// open accepts the parameters of libpq, as psycopg2 does. The environment variables and
// password files of libpq apply as well.
func (postgresDialect) open(a address, o Options) (*sql.DB, error) {
	c, err := postgresConfig(a)
	if err != nil {
		return nil, err
	}
	// Named statements are not used: they do not survive a pgbouncer in between.
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	// Not among the parameters of the connection's start, which pgbouncer may refuse.
	abandoned := fmt.Sprintf("SET idle_in_transaction_session_timeout = '%ds'", int(o.Abandoned.Seconds()))
	return pooled(stdlib.OpenDB(*c, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, abandoned, pgx.QueryExecModeSimpleProtocol)
		return err
	})), o), nil
}

func postgresConfig(a address) (*pgx.ConnConfig, error) {
	settings, err := postgresSettings(a)
	if err != nil {
		return nil, err
	}
	newest := settings.Get("ssl_min_protocol_version") == "TLSv1.3"
	settings.Del("ssl_min_protocol_version") // older ones are not spoken here in any case
	c, err := pgx.ParseConfig(keywords(settings))
	if err != nil {
		return nil, errors.New("a parameter is not valid for PostgreSQL") // the driver's own text quotes the settings
	}
	all := []*tls.Config{c.TLSConfig}
	for _, f := range c.Fallbacks {
		all = append(all, f.TLSConfig)
	}
	for _, secure := range all {
		if secure != nil && newest {
			secure.MinVersion = tls.VersionTLS13
		}
	}
	return c, nil
}

// The parameters of libpq: those that the driver accepts, and those that can be
// ignored. Texts are always UTF-8, and the driver has its own keepalives.
var (
	postgresTaken = strings.Fields("user password host port dbname passfile connect_timeout sslmode sslkey sslcert sslcertmode sslrootcert " +
		"sslnegotiation sslpassword sslsni krbsrvname target_session_attrs service servicefile channel_binding require_auth " +
		"min_protocol_version max_protocol_version application_name options")
	postgresIdle = strings.Fields("keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout " +
		"fallback_application_name client_encoding sslcompression")
)

// postgresSettings returns the settings as SQLAlchemy gives them to psycopg2: several
// parameters host, each with a port, are servers of which one is used. An unknown
// parameter is refused, for it may concern security.
//
// sqlalchemy: dialects/postgresql/psycopg2.py, create_connect_args
func postgresSettings(a address) (url.Values, error) {
	settings := url.Values{}
	for name := range a.query {
		value := a.param(name)
		switch {
		case slices.Contains(postgresTaken, name):
			settings.Set(name, value)
		case slices.Contains(postgresIdle, name):
		case name == "gssencmode" && value != "require":
		case name == "ssl_min_protocol_version" && slices.Contains([]string{"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}, value):
			settings.Set(name, value)
		default:
			return nil, fmt.Errorf("parameter %s is not known", name)
		}
	}
	for name, value := range map[string]string{
		"user": a.user, "password": a.password, "host": a.host, "port": a.port, "dbname": a.name,
	} {
		if value != "" && !settings.Has(name) {
			settings.Set(name, value)
		}
	}
	if servers := a.query["host"]; len(servers) > 1 {
		if settings.Has("port") {
			return nil, errors.New("several parameters host have their ports with them: host=h1:p1&host=h2:p2")
		}
		var hosts, ports []string
		for _, server := range servers {
			host, port, _ := strings.Cut(server, ":")
			if strings.Contains(port, ":") {
				return nil, errors.New("of several parameters host, none is an IPv6 address: use host=h1,h2&port=p1,p2")
			}
			hosts, ports = append(hosts, host), append(ports, port)
		}
		settings.Set("host", strings.Join(hosts, ","))
		settings.Set("port", strings.Join(ports, ","))
	}
	if !settings.Has("connect_timeout") {
		settings.Set("connect_timeout", strconv.Itoa(int(dialTimeout.Seconds())))
	}
	return settings, nil
}

// keywords returns the settings in libpq's keyword form.
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
func (postgresDialect) oneWriter() bool           { return false }
func (postgresDialect) forUpdate() string         { return " FOR UPDATE" }
func (postgresDialect) timestamp(t time.Time) any { return t }

func (postgresDialect) insert(ctx context.Context, tx *sql.Tx, query string, args []any) (id int64, err error) {
	err = tx.QueryRowContext(ctx, query+" RETURNING id", args...).Scan(&id)
	return id, err
}

// text removes NUL, the only character that PostgreSQL cannot store.
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

func (postgresDialect) renew(*sql.DB, Options) bool { return false }

func (postgresDialect) room(context.Context, *sql.Tx) (int, error) { return math.MaxInt, nil }

func (postgresDialect) longText() int { return 0 }

func (postgresDialect) tableOptions() string { return "" }

func (postgresDialect) isolation() sql.IsolationLevel { return sql.LevelReadCommitted }
func (postgresDialect) exact(s string) any            { return s }
func (postgresDialect) indexesInTable() bool          { return false }

// now avoids now(), which returns the time when the transaction began.
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
	for n := len(e.Code); n >= 2; n-- { // the longest code counts
		if c, known := postgresClasses[e.Code[:n]]; known {
			return c
		}
	}
	return refused
}

// postgresClasses maps SQLSTATEs, or their beginnings, to classes. Any other error is a
// refusal.
var postgresClasses = map[string]class{
	"23505": duplicate, "42P07": duplicate, "42710": duplicate, // unique_violation, duplicate_table (or index), duplicate_object
	"40": conflict, "55P03": conflict, // rollbacks, lock not available
	"0A000": conflict, "26000": conflict, // a statement has to be prepared again
	"08": unreachable, "57P": unreachable, "58": unreachable, "53": unreachable, // connection, shutdown, I/O, no room
	"57014": unreachable,                       // took too long
	"25P03": unreachable, "25006": unreachable, // a transaction was idle for too long; read-only, as after a failover
	"22001": tooLong, "22003": tooLong, "22": invalid,
	"54": tooLarge,
	"28": denied, "42501": denied,
	"3D000": missing, "3F000": missing, "42P01": missing, "42703": missing,
	"23": constraint,
}
