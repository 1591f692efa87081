// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/pkg/database/databasetest"
)

// throughProxy runs a test on each engine that is a server.
func throughProxy(t *testing.T, test func(t *testing.T, p *databasetest.Relay, db *DB, log *logtest.Hook)) {
	t.Parallel()
	for _, e := range engines {
		if e.name != "mysql" && e.name != "postgresql" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			direct := e.url(t)
			if err := openTest(t, direct, Options{}).Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			p, through := databasetest.NewRelay(t, direct)
			log, hook := logtest.NewNullLogger()
			retry := &Retry{Max: -1, Interval: time.Millisecond, MaxInterval: 10 * time.Millisecond, Attempt: time.Minute}
			test(t, p, openTest(t, through, Options{Log: log, Retry: retry}), hook)
		})
	}
}

// outageLine is closed at the next line about an unreachable database.
func outageLine(log logrus.FieldLogger) <-chan struct{} {
	h := &onceHook{seen: make(chan struct{})}
	log.(*logrus.Entry).Logger.AddHook(h)
	return h.seen
}

type onceHook struct {
	once sync.Once
	seen chan struct{}
}

func (h *onceHook) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

func (h *onceHook) Fire(*logrus.Entry) error {
	h.once.Do(func() { close(h.seen) })
	return nil
}

func TestCallsOutliveAnOutage(t *testing.T) {
	throughProxy(t, func(t *testing.T, p *databasetest.Relay, db *DB, log *logtest.Hook) {
		p.Down() // before the first connection: Open has not asked for one
		begun := outageLine(db.outage.log)
		done := make(chan error, 1)
		var id int64
		go func() {
			var err error
			id, err = db.RegisterService(t.Context(), Service{Host: uuid.NewString(), Binary: "b", Topic: "b"})
			done <- err
		}()
		<-begun
		p.Up()
		if err := <-done; err != nil {
			t.Fatal(err)
		}

		begun = outageLine(db.outage.log)
		p.Down() // now with connections in the pool
		go func() {
			_, err := db.Heartbeat(t.Context(), id)
			done <- err
		}()
		<-begun
		p.Up()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := columns(t, db, "services", id, "report_count"); got != "1" {
			t.Errorf("report_count is %s", got)
		}
		if n := len(log.AllEntries()); n != 4 {
			t.Errorf("%d lines for two outages, want 4", n)
		}
	})
}

func TestContextEndsAnOutage(t *testing.T) {
	throughProxy(t, func(t *testing.T, p *databasetest.Relay, db *DB, _ *logtest.Hook) {
		stop := errors.New("stopping")
		ctx, cancel := context.WithCancelCause(t.Context())
		begun := outageLine(db.outage.log)
		p.Down()
		go func() { <-begun; cancel(stop) }()
		if _, err := db.Get(ctx, Restores, uuid.NewString()); !errors.Is(err, stop) {
			t.Errorf("error is %v, want the cause", err)
		}
	})
}

// Connections that break at any moment, also between a commit and its answer,
// lose no update.
func TestCutConnectionsLoseNothing(t *testing.T) {
	throughProxy(t, func(t *testing.T, p *databasetest.Relay, db *DB, _ *logtest.Hook) {
		restore := insert(t, db, "restores")
		const workers, each = 4, 15
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					if i%5 == w {
						p.Cut()
					}
					key := fmt.Sprintf("T#%d-%d", w, i)
					if err := db.Update(t.Context(), Restores, restore, RecordUpdate{ResourcesStatus: map[string]string{key: "available"}}); err != nil {
						t.Error(err)
					}
					l := &OperationLog{ID: uuid.NewString(), ProjectID: "p", OperationType: "restore"}
					if _, err := db.CreateOperationLog(t.Context(), l); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		r, err := db.Get(t.Context(), Restores, restore)
		if err != nil || len(r.ResourcesStatus) != workers*each {
			t.Errorf("%d of %d entries are left (%v)", len(r.ResourcesStatus), workers*each, err)
		}
	})
}
