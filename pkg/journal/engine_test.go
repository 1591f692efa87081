// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
)

// engine is a kind of database. Each call of url makes an empty one, which
// ends with the test.
type engine struct {
	name string
	url  func(t testing.TB) string
}

var engines = []engine{
	{"sqlite", func(t testing.TB) string { return "sqlite:///" + filepath.Join(t.TempDir(), "karbor.sqlite") }},
	{"mysql", func(t testing.TB) string { return scratch(t, "KARBOR_TEST_MYSQL", "mysql") }},
	{"postgresql", func(t testing.TB) string { return scratch(t, "KARBOR_TEST_POSTGRES", "pgx") }},
}

// scratch makes a database on a test server and returns its URL.
func scratch(t testing.TB, variable, driver string) string {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		t.Skipf("%s, the URL of a database to test with, is not set", variable)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	server, err := sql.Open(driver, sourceOf(t, text, driver))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	name := "journal_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := server.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := server.Exec("DROP DATABASE " + name); err != nil {
			t.Error(err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// sourceOf is the URL of a database as a driver takes it.
func sourceOf(t testing.TB, text, driver string) string {
	t.Helper()
	if driver != "mysql" {
		return "postgres://" + strings.SplitN(text, "://", 2)[1]
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	c := mysql.NewConfig()
	password, _ := u.User.Password()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = u.User.Username(), password, "tcp", u.Host, strings.Trim(u.Path, "/")
	return c.FormatDSN()
}

func patient() *database.Retry {
	return &database.Retry{Max: 200, Interval: 10 * time.Millisecond, MaxInterval: 100 * time.Millisecond, Attempt: time.Minute}
}

// connect is a worker's pool of connections.
func connect(t testing.TB, url string, o database.Options) *database.DB {
	t.Helper()
	if o.Retry == nil {
		o.Retry = patient()
	}
	if o.MaxConns == 0 {
		o.MaxConns = 10
	}
	db, err := database.Open(t.Context(), url, o)
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

// open is a worker's journal.
func open(t testing.TB, url string) *journal.SQL {
	t.Helper()
	j := journal.Open(connect(t, url, database.Options{}), journal.Options{})
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := j.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return j
}

// onEveryEngine runs a test with an empty database on each engine that there
// is.
func onEveryEngine(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e.url(t))
		})
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		journaltest.Run(t, func(*testing.T) journaltest.Factory {
			j := journaltest.NewMemory(nil)
			return journaltest.Factory{Open: func(testing.TB) journal.Journal { return j }}
		})
	})
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			journaltest.Run(t, func(t *testing.T) journaltest.Factory {
				url := e.url(t)
				return journaltest.Factory{Open: func(t testing.TB) journal.Journal { return open(t, url) }, Durable: true}
			})
		})
	}
}
