// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
)

func exec(t *testing.T, db *database.DB, statement string) {
	t.Helper()
	err := db.Transact(t.Context(), func(ctx context.Context, tx database.Tx) error {
		_, err := tx.Exec(ctx, statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSyncAtOnce(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, url string) {
		var wg sync.WaitGroup
		for range 8 {
			db := connect(t, url, database.Options{})
			wg.Go(func() {
				for range 2 {
					if err := db.Sync(t.Context()); err != nil { // karbor's own tables are beside them
						t.Error(err)
					}
					if err := journal.Open(db, journal.Options{}).Sync(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		begin(t, open(t, url))
	})
}

// A migration that was interrupted goes on.
func TestSyncGoesOn(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, url string) {
		j := open(t, url)
		e := begin(t, j)
		db := connect(t, url, database.Options{})
		exec(t, db, "UPDATE protection_journal_version SET version = 0")
		exec(t, db, "DROP TABLE protection_locks")
		exec(t, db, "DELETE FROM protection_guards WHERE id > 20")
		if err := j.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Get(t.Context(), e.ID); err != nil {
			t.Error(err)
		}
		if has, err := j.Lock(t.Context(), "l", "w", 0); err != nil || !has {
			t.Error(has, err)
		}
	})
}

func TestNewerTables(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, url string) {
		j := open(t, url)
		exec(t, connect(t, url, database.Options{}), "UPDATE protection_journal_version SET version = 99")
		if err := j.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "version 99") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestWithoutTables(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, url string) {
		j := journal.Open(connect(t, url, database.Options{}), journal.Options{})
		if _, err := j.List(t.Context(), journal.Filter{}); err == nil {
			t.Error("listed from no table")
		}
		if err := j.Write(t.Context(), "id", journal.Claim{}, journal.Mark{Key: "k"}); err == nil {
			t.Error("written to no table")
		}
		if s := j.Stats(); s.Failed != 1 || s.Commits != 0 {
			t.Errorf("figures are %+v", s)
		}
	})
}

// A user who may read and write tables, but make none, has a journal once somebody
// else has made its tables, and is told before.
func TestUserWithoutDefinitions(t *testing.T) {
	t.Parallel()
	for name, driver := range map[string]string{"mysql": "KARBOR_TEST_MYSQL", "pgx": "KARBOR_TEST_POSTGRES"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, address := scratchServer(t, driver, name)
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			schema, user := strings.Trim(u.Path, "/"), "u"+strings.ReplaceAll(uuid.NewString(), "-", "")[:20]
			run := func(statements ...string) {
				t.Helper()
				for _, s := range statements {
					if _, err := server.ExecContext(context.WithoutCancel(t.Context()), s); err != nil {
						t.Fatalf("%s: %v", s, err)
					}
				}
			}
			grant := func(right string) {
				t.Helper()
				if name == "mysql" {
					run("GRANT " + right + " ON " + schema + ".* TO " + user)
					return
				}
				run("GRANT " + right + " ON ALL TABLES IN SCHEMA public TO " + user)
			}
			if name == "mysql" {
				run("CREATE USER "+user+" IDENTIFIED BY 'secret'", "GRANT SELECT ON "+schema+".* TO "+user)
				t.Cleanup(func() { run("DROP USER " + user) })
			} else {
				run("CREATE USER "+user+" PASSWORD 'secret'", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
				t.Cleanup(func() { run("DROP OWNED BY "+user, "DROP USER "+user) })
			}
			u.User = url.UserPassword(user, "secret")
			db := connect(t, u.String(), database.Options{})
			j := journal.Open(db, journal.Options{})
			refused := func(when string, want database.Refusal, err error) {
				t.Helper()
				if r := database.Refused(err); r == nil || r.Refusal != want {
					t.Errorf("%s: %v, want that %s", when, err, want)
				}
			}
			refused("without tables", database.Denied, j.Sync(t.Context()))
			refused("without karbor's tables", database.Missing, db.Check(t.Context()))
			admin := connect(t, address, database.Options{})
			if err := errors.Join(admin.Sync(t.Context()), journal.Open(admin, journal.Options{}).Sync(t.Context())); err != nil {
				t.Fatal(err)
			}
			grant("SELECT")
			refused("read only", database.Denied, j.Sync(t.Context()))
			refused("read only", database.Denied, db.Check(t.Context()))
			grant("INSERT, UPDATE")
			refused("without DELETE", database.Denied, j.Sync(t.Context()))
			if err := db.Check(t.Context()); err != nil {
				t.Errorf("karbor's tables: %v", err)
			}
			grant("DELETE")
			if err := errors.Join(j.Sync(t.Context()), db.Check(t.Context()), db.Sync(t.Context())); err != nil {
				t.Error(err)
			}
			begin(t, j)
		})
	}
}
