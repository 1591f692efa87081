// SPDX-License-Identifier: Apache-2.0

package database

import (
	"testing"
	"time"
)

// A process that is stopped within a transaction keeps no row from others for
// long. SQLite is not meant: it knows no sessions of its own.
func TestAbandonedTransaction(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		if e.name == "sqlite" || e.name == "memory" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			url := e.url(t)
			stopped, other := openTest(t, url, Options{Abandoned: time.Second}), openTest(t, url, Options{})
			if err := other.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			id, err := other.CreateOperationLog(t.Context(), &OperationLog{ProjectID: "p", OperationType: "protect"})
			if err != nil {
				t.Fatal(err)
			}
			tx, err := stopped.pool.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			update := stopped.dialect.rebind("UPDATE operation_logs SET status = ? WHERE id = ?")
			if _, err := tx.ExecContext(t.Context(), update, "of the stopped", id); err != nil {
				t.Fatal(err)
			}
			status := "of the other"
			if err := other.UpdateOperationLog(t.Context(), id, OperationLogUpdate{Status: &status}); err != nil {
				t.Fatal(err) // it has a minute
			}
			_, err = tx.ExecContext(t.Context(), update, "too late", id)
			if err == nil {
				err = tx.Commit()
			}
			if err == nil {
				t.Fatal("the stopped one went on with its transaction")
			}
			if got := stopped.classify(err); got != unreachable {
				t.Errorf("%v is of class %v: it would not be tried again", err, got)
			}
		})
	}
}
