// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"strings"
	"sync"
	"testing"

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
