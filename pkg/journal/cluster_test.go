// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
)

// count reads one number.
func count(t *testing.T, db *database.DB, query string) (n int) {
	t.Helper()
	err := db.Transact(t.Context(), func(ctx context.Context, tx database.Tx) error { return tx.QueryRow(ctx, query).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What keeps others out is written, and not only locked: the nodes of a cluster know
// nothing of each other's locks, but of two transactions that write a row one fails.
// Galera: SELECT ... FOR UPDATE is no part of a write set.
func TestLocksAreWritten(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, url string) {
		db := connect(t, url, database.Options{})
		j := open(t, url)
		if count(t, db, "SELECT COUNT(*) FROM protection_guards WHERE turn IS NOT NULL") > 0 {
			t.Fatal("there were turns before any")
		}
		e, _, err := j.Begin(t.Context(), journal.Entry{ID: uuid.NewString(), Kind: "protect", Subject: "s", Claim: journal.Claim{Owner: "w"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Write(t.Context(), e.ID, e.Claim, journal.Mark{Key: "k", Value: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		if err := j.Announce(t.Context(), journal.Owner{ID: "w"}, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Adopt(t.Context(), e.ID, e.Claim, "heir"); err != nil {
			t.Fatal(err)
		}
		want := 1
		if t.Name() == "TestLocksAreWritten/sqlite" {
			want = 0 // a transaction is alone
		}
		for _, table := range []string{"protection_guards", "protection_operations", "protection_owners"} {
			if got := count(t, db, "SELECT COALESCE(SUM(turn), 0) FROM "+table); got != want {
				t.Errorf("%s was written %d times, want %d", table, got, want)
			}
		}
	})
}

// Tables of an older version get the columns that they lack, and stay of that version:
// its workers write them, too.
func TestSyncAddsColumns(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, url string) {
		open(t, url)
		db := connect(t, url, database.Options{})
		for _, table := range []string{"protection_guards", "protection_operations", "protection_owners"} {
			exec(t, db, "ALTER TABLE "+table+" DROP COLUMN turn")
		}
		version := count(t, db, "SELECT version FROM protection_journal_version")
		j := open(t, url)
		if got := count(t, db, "SELECT version FROM protection_journal_version"); got != version {
			t.Errorf("the version is %d and was %d", got, version)
		}
		e, _, err := j.Begin(t.Context(), journal.Entry{ID: uuid.NewString(), Kind: "protect", Subject: "s", Claim: journal.Claim{Owner: "w"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Write(t.Context(), e.ID, e.Claim, journal.Mark{Key: "k", Value: []byte("1")}); err != nil {
			t.Error(err)
		}
	})
}
