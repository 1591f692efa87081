// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

func contextWithCause(t *testing.T, cause error) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, func() { cancel(cause) }
}

func TestClassify(t *testing.T) {
	t.Parallel()
	number := func(n uint16) error { return fmt.Errorf("wrapped: %w", &mysql.MySQLError{Number: n}) }
	state := func(s string) error { return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: s}) }
	tests := []struct {
		name    string
		dialect dialect
		err     error
		want    class
	}{
		{"MySQL deadlock", mysqlDialect{}, number(1213), conflict},
		{"MySQL refused by the group", mysqlDialect{}, number(3101), conflict},
		{"MySQL lock wait", mysqlDialect{}, number(1205), conflict},
		{"MySQL too many connections", mysqlDialect{}, number(1040), unreachable},
		{"MySQL read-only", mysqlDialect{}, number(1290), unreachable},
		{"MariaDB killed", mysqlDialect{}, number(1927), unreachable},
		{"MySQL connection lost", mysqlDialect{}, mysql.ErrInvalidConn, unreachable},
		{"MySQL duplicate", mysqlDialect{}, number(1062), duplicate},
		{"MySQL access denied", mysqlDialect{}, number(1045), denied},
		{"MySQL no right on a table", mysqlDialect{}, number(1142), denied},
		{"MySQL no table", mysqlDialect{}, number(1146), missing},
		{"MySQL no database", mysqlDialect{}, number(1049), missing},
		{"MySQL too long", mysqlDialect{}, number(1406), tooLong},
		{"MySQL packet", mysqlDialect{}, number(1153), tooLarge},
		{"the driver's bound", mysqlDialect{}, mysql.ErrPktTooLarge, tooLarge},
		{"MySQL no default", mysqlDialect{}, number(1364), constraint},
		{"MySQL wrong character", mysqlDialect{}, number(1366), invalid},
		{"MySQL disk full", mysqlDialect{}, number(1021), unreachable},
		{"MySQL anything else", mysqlDialect{}, number(1064), refused},
		{"PostgreSQL deadlock", postgresDialect{}, state("40P01"), conflict},
		{"PostgreSQL shutdown", postgresDialect{}, state("57P01"), unreachable},
		{"PostgreSQL connection failure", postgresDialect{}, state("08006"), unreachable},
		{"PostgreSQL duplicate", postgresDialect{}, state("23505"), duplicate},
		{"PostgreSQL table made meanwhile", postgresDialect{}, state("42P07"), duplicate},
		{"PostgreSQL type made meanwhile", postgresDialect{}, state("42710"), duplicate},
		{"PostgreSQL bad password", postgresDialect{}, state("28P01"), denied},
		{"PostgreSQL no right", postgresDialect{}, state("42501"), denied},
		{"PostgreSQL no table", postgresDialect{}, state("42P01"), missing},
		{"PostgreSQL no database", postgresDialect{}, state("3D000"), missing},
		{"PostgreSQL too long", postgresDialect{}, state("22001"), tooLong},
		{"PostgreSQL NUL", postgresDialect{}, state("22021"), invalid},
		{"PostgreSQL too large", postgresDialect{}, state("54000"), tooLarge},
		{"PostgreSQL null", postgresDialect{}, state("23502"), constraint},
		{"PostgreSQL disk full", postgresDialect{}, state("53100"), unreachable},
		{"PostgreSQL anything else", postgresDialect{}, state("42601"), refused},
		{"bad connection", sqliteDialect{}, driver.ErrBadConn, unreachable},
		{"attempt timed out", postgresDialect{}, fmt.Errorf("%w: %w", errAttempt, state("57014")), unreachable},
		{"PostgreSQL connection broken before", postgresDialect{}, fmt.Errorf("wrapped: %w", sql.ErrConnDone), unreachable},
		{"anything else", sqliteDialect{}, errors.New("x"), permanent},
		{"no row", postgresDialect{}, sql.ErrNoRows, permanent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := (&DB{dialect: tt.dialect}).classify(tt.err); got != tt.want {
				t.Errorf("class is %d, want %d", got, tt.want)
			}
		})
	}
}

func TestWaitsGrow(t *testing.T) {
	t.Parallel()
	r := &Retry{Interval: time.Second, MaxInterval: 10 * time.Second, Jitter: func() float64 { return 0 }}
	var lost, locked []time.Duration
	for n := range 6 {
		lost = append(lost, r.wait(n, unreachable))
		locked = append(locked, r.wait(n, conflict).Round(time.Millisecond))
	}
	const s, ms = time.Second, time.Millisecond
	if diff := cmp.Diff([]time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s}, lost); diff != "" {
		t.Errorf("after lost connections (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]time.Duration{20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms}, locked); diff != "" {
		t.Errorf("after deadlocks (-want +got):\n%s", diff)
	}
	r.Jitter = func() float64 { return 0.5 }
	if got := r.wait(0, unreachable); got != 750*ms {
		t.Errorf("with jitter: %v", got)
	}
}

// failing gives the errors one by one, then success.
func failing(errs ...error) (func(context.Context, *sql.Tx) error, *int) {
	calls := new(int)
	return func(context.Context, *sql.Tx) error {
		*calls++
		if *calls <= len(errs) {
			return errs[*calls-1]
		}
		return nil
	}, calls
}

func TestRetries(t *testing.T) {
	t.Parallel()
	broken := errors.New("syntax error")
	tests := []struct {
		name  string
		errs  []error
		calls int
		want  error
	}{
		{"success", nil, 1, nil},
		{"lost twice", []error{driver.ErrBadConn, driver.ErrBadConn}, 3, nil},
		{"lost too often", []error{driver.ErrBadConn, driver.ErrBadConn, driver.ErrBadConn, driver.ErrBadConn}, 4, driver.ErrBadConn},
		{"permanent", []error{broken}, 1, broken},
		{"lost, then permanent", []error{driver.ErrBadConn, broken}, 2, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := openTest(t, "sqlite://", Options{Retry: &Retry{Max: 3}})
			f, calls := failing(tt.errs...)
			if err := db.do(t.Context(), f); !errors.Is(err, tt.want) || *calls != tt.calls {
				t.Errorf("%d calls, error %v; want %d, %v", *calls, err, tt.calls, tt.want)
			}
		})
	}
}

func TestContextEndsTheWaiting(t *testing.T) {
	t.Parallel()
	db := openTest(t, "sqlite://", Options{Retry: &Retry{Max: -1, Interval: time.Hour, MaxInterval: time.Hour}})
	stop := errors.New("stopping")
	ctx, cancel := contextWithCause(t, stop)
	lost := func(context.Context, *sql.Tx) error {
		time.AfterFunc(time.Millisecond, cancel)
		return driver.ErrBadConn
	}
	if err := db.do(ctx, lost); !errors.Is(err, stop) || !errors.Is(err, driver.ErrBadConn) {
		t.Errorf("error is %v, want the cause and what went before", err)
	}
}

// An attempt that hangs is given up and counts as a lost connection.
func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	db := openTest(t, "sqlite://", Options{Retry: &Retry{Max: 1000, Attempt: 10 * time.Millisecond}})
	if err := db.Ping(t.Context()); err != nil { // a busy machine may take longer to connect
		t.Fatal(err)
	}
	calls := 0
	hangsOnce := func(ctx context.Context, _ *sql.Tx) error {
		if calls++; calls == 1 {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	if err := db.do(t.Context(), hangsOnce); err != nil || calls < 2 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

func TestAnOutageIsTwoLines(t *testing.T) {
	t.Parallel()
	log, hook := logtest.NewNullLogger()
	db := openTest(t, "sqlite://", Options{Log: log, Retry: &Retry{Max: 2}})
	for range 3 {
		f, _ := failing(driver.ErrBadConn, driver.ErrBadConn, driver.ErrBadConn)
		if err := db.do(t.Context(), f); err == nil {
			t.Fatal("no error")
		}
	}
	for range 2 {
		f, _ := failing()
		if err := db.do(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	var levels []logrus.Level
	for _, e := range hook.AllEntries() {
		levels = append(levels, e.Level)
	}
	if diff := cmp.Diff([]logrus.Level{logrus.ErrorLevel, logrus.InfoLevel}, levels); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// certifier is a node of a cluster whose first commits lose to those of another node.
// Galera: the answer to COMMIT is ER_LOCK_DEADLOCK, which nothing has said before.
type certifier struct {
	driver.Conn
	failures *int
}

func (c certifier) Connect(context.Context) (driver.Conn, error) { return c, nil }
func (c certifier) Driver() driver.Driver                        { return nil }
func (c certifier) Begin() (driver.Tx, error)                    { return c, nil }
func (c certifier) Close() error                                 { return nil }
func (c certifier) Rollback() error                              { return nil }

func (c certifier) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) { return c, nil }

func (c certifier) Commit() error {
	if *c.failures--; *c.failures >= 0 {
		return &mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock; try restarting transaction"}
	}
	return nil
}

// A commit that another node of a cluster was faster than is done again at once, and is
// no outage.
func TestCertificationFailure(t *testing.T) {
	t.Parallel()
	log, hook := logtest.NewNullLogger()
	failures, calls := 2, 0
	db := &DB{pool: sql.OpenDB(certifier{failures: &failures}), dialect: mysqlDialect{}, outage: outage{log: log, clock: time.Now},
		options: Options{Retry: &Retry{Max: 2}}}
	t.Cleanup(func() { _ = db.Close() })
	err := db.do(t.Context(), func(context.Context, *sql.Tx) error { calls++; return nil })
	if err != nil || calls != 3 || len(hook.AllEntries()) > 0 {
		t.Errorf("%v after %d calls, %d lines of log", err, calls, len(hook.AllEntries()))
	}
}
