// SPDX-License-Identifier: Apache-2.0

package database

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 11, 22, 15, 42, 1, 0, time.FixedZone("", 3600))}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Step() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now.UTC()
}

// engine is a database to run the suite on. Tests share what is behind url, so
// that each uses ids of its own.
type engine struct {
	name string
	url  func(t *testing.T) string
}

func fromEnvironment(variable string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		url := os.Getenv(variable)
		if url == "" {
			t.Skipf("%s, the URL of a database to test with, is not set", variable)
		}
		return url
	}
}

var engines = []engine{
	{"sqlite", func(t *testing.T) string {
		return "sqlite:///" + filepath.Join(t.TempDir(), "new folder", "a b%25#.sqlite")
	}},
	{"memory", func(*testing.T) string { return "sqlite://" }},
	{"mysql", fromEnvironment("KARBOR_TEST_MYSQL")},
	{"postgresql", fromEnvironment("KARBOR_TEST_POSTGRES")},
}

// onEveryEngine runs a test on each engine that there is, with the tables
// made.
func onEveryEngine(t *testing.T, test func(t *testing.T, db *DB, c *clock)) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			db := openTest(t, e.url(t), Options{Clock: c.Now})
			if err := db.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, db, c)
		})
	}
}

func openTest(t *testing.T, url string, o Options) *DB {
	t.Helper()
	if o.Retry == nil {
		o.Retry = &Retry{Max: 50, Interval: 5 * time.Millisecond, MaxInterval: 50 * time.Millisecond, Attempt: time.Minute}
	}
	db, err := Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// insert puts a row into a table, as karbor-api would.
func insert(t *testing.T, db *DB, table string, values ...assignment) (id string) {
	t.Helper()
	id = uuid.NewString()
	values = append([]assignment{{"id", id}, {"created_at", db.now()}, {"deleted", false}}, values...)
	query, args := db.insertQuery(table, values)
	if _, err := db.pool.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
	return id
}

// columns reads columns of a row as text, NULL for NULL.
func columns(t *testing.T, db *DB, table string, id any, names ...string) string {
	t.Helper()
	values := make([]any, len(names))
	for i := range names {
		values[i] = new(any)
		names[i] = db.dialect.quote(names[i])
	}
	query := db.dialect.rebind("SELECT " + strings.Join(names, ", ") + " FROM " + table + " WHERE id = ?")
	if err := db.pool.QueryRowContext(t.Context(), query, id).Scan(values...); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, v := range values {
		switch v := (*v.(*any)).(type) {
		case nil:
			texts = append(texts, "NULL")
		case []byte:
			texts = append(texts, string(v))
		case time.Time:
			texts = append(texts, v.UTC().Format(time.DateTime))
		case bool: // MySQL has 0 and 1
			texts = append(texts, map[bool]string{false: "0", true: "1"}[v])
		default:
			texts = append(texts, fmt.Sprint(v))
		}
	}
	return strings.Join(texts, "|")
}

// markDeleted deletes a row as karbor-api does.
func markDeleted(t *testing.T, db *DB, table string, id any) {
	t.Helper()
	query := db.dialect.rebind("UPDATE " + table + " SET deleted = ? WHERE id = ?")
	result, err := db.pool.ExecContext(t.Context(), query, true, id)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := result.RowsAffected(); n != 1 {
		t.Fatal(sql.ErrNoRows)
	}
}

func ptr[T any](v T) *T { return &v }
