// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/database/databasetest"
	"github.com/karbor-project/karbor/pkg/journal"
)

// throughRelay runs a test on each engine that is a server.
func throughRelay(t *testing.T, test func(t *testing.T, r *databasetest.Relay, j *journal.SQL, log *logrus.Logger)) {
	t.Parallel()
	for _, e := range engines[1:] {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			relay, url := databasetest.NewRelay(t, e.url(t))
			log := logrus.New()
			log.SetOutput(t.Output())
			retry := &database.Retry{Max: -1, Interval: time.Millisecond, MaxInterval: 10 * time.Millisecond, Attempt: time.Minute}
			j := journal.Open(connect(t, url, database.Options{Retry: retry, Log: log}), journal.Options{})
			if err := j.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, relay, j, log)
		})
	}
}

// A call that is repeated because nobody heard that it was committed comes to
// what the first one did.
func TestLostAnswers(t *testing.T) {
	throughRelay(t, func(t *testing.T, relay *databasetest.Relay, j *journal.SQL, _ *logrus.Logger) {
		lost := 0
		lose := func(what string, call func() error) {
			t.Helper()
			relay.LoseAnswer("commit")
			if err := call(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if lost++; relay.Lost() != lost {
				t.Fatalf("%s: no answer was lost", what)
			}
		}
		e := journal.Entry{ID: uuid.NewString(), Key: "k", Subject: "s", Exclusive: true, Claim: journal.Claim{Owner: "w"}}
		lose("begin", func() error {
			got, fresh, err := j.Begin(t.Context(), e)
			if e = got; !fresh {
				t.Error("what was begun here is not fresh")
			}
			return err
		})
		lose("start", func() error { return j.Start(t.Context(), e.ID, e.Claim) })
		lose("write", func() error { return j.Write(t.Context(), e.ID, e.Claim, journal.Mark{Key: "k", Value: []byte("1")}) })
		lose("cancel", func() error { return j.Cancel(t.Context(), e.ID, "alice") })
		lose("lock", func() error {
			has, err := j.Lock(t.Context(), "l", "w", time.Hour)
			if !has {
				t.Error("no lock")
			}
			return err
		})
		lose("announce", func() error { return j.Announce(t.Context(), journal.Owner{ID: "x"}, time.Hour) })
		lose("adopt", func() (err error) {
			e.Claim, err = j.Adopt(t.Context(), e.ID, e.Claim, "x")
			return err
		})
		if e.Claim != (journal.Claim{Owner: "x", Generation: 2}) {
			t.Errorf("claim is %v", e.Claim)
		}
		lose("end", func() error { return j.End(t.Context(), e.ID, e.Claim, journal.Failed, "r", nil) })
		lose("retire", func() error { return j.Retire(t.Context(), "x") })
		lose("unlock", func() error { return j.Unlock(t.Context(), "l", "w") })
		got, err := j.Get(t.Context(), e.ID)
		if err != nil || got.Outcome != journal.Failed || got.CancelledBy != "alice" || got.StartedAt.IsZero() {
			t.Errorf("%+v (%v)", got, err)
		}
		if marks, err := j.Marks(t.Context(), e.ID, ""); err != nil || len(marks) != 1 {
			t.Errorf("%d marks (%v)", len(marks), err)
		}
	})
}

// Connections that break at any moment lose no mark and begin nothing twice.
func TestCutConnections(t *testing.T) {
	throughRelay(t, func(t *testing.T, relay *databasetest.Relay, j *journal.SQL, _ *logrus.Logger) {
		const workers, each = 8, 20
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				e, fresh, err := j.Begin(t.Context(), journal.Entry{ID: uuid.NewString(), Key: fmt.Sprint(w), Subject: fmt.Sprint(w), Exclusive: true})
				if err != nil || !fresh {
					t.Errorf("begin: %v, fresh %v", err, fresh)
				}
				for i := range each {
					if i%workers == w {
						relay.Cut()
					}
					if err := j.Write(t.Context(), e.ID, e.Claim, journal.Mark{Key: fmt.Sprint(i), Value: []byte("1")}); err != nil {
						t.Error(err)
					}
				}
				if marks, err := j.Marks(t.Context(), e.ID, ""); err != nil || len(marks) != each {
					t.Errorf("%d of %d marks are left (%v)", len(marks), each, err)
				}
			})
		}
		wg.Wait()
		if entries, err := j.List(t.Context(), journal.Filter{}); err != nil || len(entries) != workers {
			t.Errorf("%d entries, want %d (%v)", len(entries), workers, err)
		}
	})
}

type outageHook chan struct{}

func (h outageHook) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

func (h outageHook) Fire(*logrus.Entry) error { close(h); return nil }

// A write waits for the database to come back, and those that come meanwhile
// go with it or after it.
func TestWritesOutliveAnOutage(t *testing.T) {
	throughRelay(t, func(t *testing.T, relay *databasetest.Relay, j *journal.SQL, log *logrus.Logger) {
		e := begin(t, j)
		away := make(outageHook)
		log.AddHook(away)
		relay.Down()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if err := j.Write(t.Context(), e.ID, e.Claim, journal.Mark{Key: fmt.Sprint(i), Value: []byte("1")}); err != nil {
					t.Error(err)
				}
			})
		}
		<-away
		relay.Up()
		wg.Wait()
		if marks, err := j.Marks(t.Context(), e.ID, ""); err != nil || len(marks) != 50 {
			t.Errorf("%d marks (%v)", len(marks), err)
		}
	})
}
