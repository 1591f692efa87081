// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// queued returns a database with a table, a function that adds a transaction behind one
// that is held, and one that lets all of them go and returns what each came to. A
// transaction counts as many attempts as it makes.
func queued(t *testing.T) (db *DB, add func(f func(context.Context, *sql.Tx) error), release func() []error) {
	t.Helper()
	retry := Retry{Max: 3, Attempt: time.Minute}
	db = openTest(t, "sqlite:///"+t.TempDir()+"/karbor.sqlite", Options{Retry: &retry})
	if err := db.run(t.Context(), "CREATE TABLE shared (id INTEGER PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	call := func(f func(context.Context, *sql.Tx) error) {
		mu.Lock()
		n := len(errs)
		errs = append(errs, nil)
		mu.Unlock()
		callers.Go(func() {
			err := db.do(t.Context(), f)
			mu.Lock()
			defer mu.Unlock()
			errs[n] = err
		})
	}
	waiting := func() int {
		db.commits.mu.Lock()
		defer db.commits.mu.Unlock()
		return len(db.commits.queue)
	}
	began, free := make(chan struct{}), make(chan struct{})
	var hold sync.Once
	call(func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO shared VALUES (0)")
		hold.Do(func() {
			close(began)
			<-free
		})
		return err
	})
	<-began
	return db, func(f func(context.Context, *sql.Tx) error) {
			n := waiting()
			call(f)
			for waiting() == n {
				runtime.Gosched()
			}
		}, func() []error {
			close(free)
			callers.Wait()
			return errs
		}
}

func insertRow(id int) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO shared VALUES (?)", id)
		return err
	}
}

func storedRows(t *testing.T, db *DB) (ids string) {
	t.Helper()
	err := db.do(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT group_concat(id) FROM (SELECT id FROM shared ORDER BY id)").Scan(&ids)
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// A transaction that fails within a shared commit leaves nothing, and those beside it
// are not touched.
func TestSharedCommitWithoutTheFailed(t *testing.T) {
	t.Parallel()
	db, add, release := queued(t)
	failure := errors.New("no")
	add(insertRow(1))
	add(func(ctx context.Context, tx *sql.Tx) error { return errors.Join(insertRow(2)(ctx, tx), failure) })
	add(insertRow(1))
	add(insertRow(3))
	errs := release()
	if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], failure) || !db.Duplicate(errs[3]) || errs[4] != nil {
		t.Errorf("the transactions came to %v", errs)
	}
	if got := storedRows(t, db); got != "0,1,3" {
		t.Errorf("rows %s", got)
	}
}

// When the engine takes back all of a commit, as for a statement that is broken off,
// those beside the one that failed are done again.
func TestSharedCommitIsTakenBack(t *testing.T) {
	t.Parallel()
	db, add, release := queued(t)
	attempts := 0
	add(func(ctx context.Context, tx *sql.Tx) error {
		attempts++
		return insertRow(1)(ctx, tx)
	})
	failure := errors.New("no")
	add(func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "ROLLBACK"); err != nil {
			return fmt.Errorf("taking all back: %w", err)
		}
		return failure
	})
	add(insertRow(2))
	errs := release()
	if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], failure) || errs[3] != nil {
		t.Errorf("the transactions came to %v", errs)
	}
	if got := storedRows(t, db); got != "0,1,2" || attempts != 2 {
		t.Errorf("rows %s after %d attempts", got, attempts)
	}
}

// A caller that goes while its transaction waits is gone at once, and the transaction
// does not happen.
func TestSharedCommitOfOneWhoLeaves(t *testing.T) {
	t.Parallel()
	db, add, release := queued(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	left := make(chan error, 1)
	go func() { left <- db.do(ctx, insertRow(1)) }()
	add(insertRow(2))
	cancel(gone)
	if err := <-left; !errors.Is(err, gone) {
		t.Errorf("left with %v", err)
	}
	if errs := release(); errors.Join(errs...) != nil {
		t.Error(errs)
	}
	if got := storedRows(t, db); got != "0,2" {
		t.Errorf("rows %s", got)
	}
}
