// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// tables are the tables of one installation.
type tables struct {
	t   testing.TB
	sql *sql.DB
	url string // SQLAlchemy's form
}

// useMariaDB gives the site a database of its own, still without tables.
func (s *site) useMariaDB() *tables {
	s.t.Helper()
	need(s.t, "KARBOR_TEST_MYSQL")
	u, err := url.Parse(os.Getenv("KARBOR_TEST_MYSQL"))
	must(s.t, err)
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.ParseTime = "tcp", u.Host, u.User.Username(), true
	c.Passwd, _ = u.User.Password()
	name := "functional_" + uuid.NewString()[:8]
	admin := s.open(c)
	execute(s.t, admin, "CREATE DATABASE "+name+" CHARACTER SET utf8mb3")
	s.t.Cleanup(func() { execute(s.t, admin, "DROP DATABASE "+name) })
	c = c.Clone()
	c.DBName = name
	u.Path = "/" + name
	return s.use(s.open(c), u.String())
}

func (s *site) open(c *mysql.Config) *sql.DB {
	s.t.Helper()
	connector, err := mysql.NewConnector(c)
	must(s.t, err)
	db := sql.OpenDB(connector)
	s.t.Cleanup(func() { _ = db.Close() })
	return db
}

// usePostgreSQL gives the site a schema of its own, still without tables.
func (s *site) usePostgreSQL() *tables {
	s.t.Helper()
	need(s.t, "KARBOR_TEST_POSTGRES")
	u, err := url.Parse(os.Getenv("KARBOR_TEST_POSTGRES"))
	must(s.t, err)
	name := "functional_" + uuid.NewString()[:8]
	u.RawQuery = url.Values{"options": {"-csearch_path=" + name}}.Encode()
	c, err := pgx.ParseConfig(u.String())
	must(s.t, err)
	db := stdlib.OpenDB(*c)
	s.t.Cleanup(func() { _ = db.Close() })
	execute(s.t, db, "CREATE SCHEMA "+name)
	s.t.Cleanup(func() { execute(s.t, db, "DROP SCHEMA "+name+" CASCADE") })
	return s.use(db, u.String())
}

func (s *site) use(db *sql.DB, url string) *tables {
	s.conf.set("database", "connection", url)
	s.db = &tables{t: s.t, sql: db, url: url}
	return s.db
}

// sync makes the tables as an operator does.
func (s *site) sync() {
	s.t.Helper()
	conf := s.write("karbor.conf", s.conf.String())
	if out, err := exec.Command(program, "--db-sync", "--config-file", conf).CombinedOutput(); err != nil {
		s.t.Fatalf("--db-sync: %v\n%s", err, out)
	}
}

func execute(t testing.TB, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Errorf("%s: %v", query, err)
	}
}

// addRecord inserts a restore or verification as karbor-api does before it asks
// for it, and returns its id. table is the name of the table.
func (d *tables) addRecord(table, projectID string, p plan, checkpoint string) string {
	d.t.Helper()
	id := uuid.NewString()
	no := "0"
	if strings.HasPrefix(d.url, "postgresql") {
		no = "FALSE"
	}
	execute(d.t, d.sql, fmt.Sprintf("INSERT INTO %s (created_at, deleted, id, project_id, provider_id, checkpoint_id, status) "+
		"VALUES (CURRENT_TIMESTAMP, %s, '%s', '%s', '%s', '%s', 'in_progress')", table, no, id, projectID, p.provider, checkpoint))
	return id
}

// record is what becomes of a restore or verification.
type record struct{ Status, ResourcesStatus, ResourcesReason string }

func (d *tables) record(table, id string) record {
	d.t.Helper()
	var r record
	err := d.sql.QueryRow("SELECT status, COALESCE(resources_status, ''), COALESCE(resources_reason, '') FROM "+table+
		" WHERE id = '"+id+"'").Scan(&r.Status, &r.ResourcesStatus, &r.ResourcesReason)
	must(d.t, err)
	return r
}

// finished waits until a record is no longer in progress.
func (d *tables) finished(table, id string) record {
	d.t.Helper()
	var r record
	await(d.t, "the end of "+table+" "+id, func() (bool, any) {
		r = d.record(table, id)
		return r.Status != "in_progress", r
	})
	return r
}

// logRow is a row of operation_logs.
type logRow struct {
	Type, Status string
	Started      bool
	Ended        bool
	Plan         string
	Provider     string
	Restore      string
}

// operations returns the rows of a checkpoint by type, and
// what they say about errors.
func (d *tables) operations(checkpoint string) (rows []logRow, failures []string) {
	d.t.Helper()
	result, err := d.sql.Query("SELECT operation_type, status, started_at IS NOT NULL, ended_at IS NOT NULL, COALESCE(plan_id, ''), " +
		"COALESCE(provider_id, ''), COALESCE(restore_id, ''), COALESCE(error_info, '') " +
		"FROM operation_logs WHERE checkpoint_id = '" + checkpoint + "' ORDER BY operation_type")
	must(d.t, err)
	defer result.Close()
	for result.Next() {
		var r logRow
		var failure string
		must(d.t, result.Scan(&r.Type, &r.Status, &r.Started, &r.Ended, &r.Plan, &r.Provider, &r.Restore, &failure))
		rows = append(rows, r)
		failures = append(failures, failure)
	}
	must(d.t, result.Err())
	return rows, failures
}

// closed waits until a checkpoint has n operations, all of them ended.
func (d *tables) closed(checkpoint string, n int) (rows []logRow, failures []string) {
	d.t.Helper()
	await(d.t, fmt.Sprintf("%d ended operations on checkpoint %s", n, checkpoint), func() (bool, any) {
		rows, failures = d.operations(checkpoint)
		open := 0
		for _, r := range rows {
			if !r.Ended {
				open++
			}
		}
		return len(rows) == n && open == 0, rows
	})
	return rows, failures
}

// count returns the number that a query selects.
func (d *tables) count(query string) int {
	d.t.Helper()
	var n int
	must(d.t, d.sql.QueryRow(query).Scan(&n))
	return n
}
