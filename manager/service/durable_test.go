// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// lines passes on what is logged.
type lines chan string

func (lines) Levels() []logrus.Level { return logrus.AllLevels }
func (l lines) Fire(e *logrus.Entry) error {
	l <- e.Message
	return nil
}

// A worker whose tables are missing says so, and waits for them or its end before
// it takes a request.
func TestStartWaitsForTables(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), "sqlite:///"+filepath.Join(t.TempDir(), "k.sqlite"), database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	kept := journal.Open(db, journal.Options{})
	defer kept.Close()
	log, _ := logtest.NewNullLogger()
	told := make(lines, 100)
	log.AddHook(told)
	i := &instance{db: db, journal: kept, log: &telemetry.Log{Logger: log}}
	i.ending, i.end = context.WithCancel(t.Context())
	defer i.end()

	ctx, cancel := context.WithCancelCause(t.Context())
	waiting := make(chan error, 1)
	go func() { waiting <- i.awaitTables(ctx) }()
	if line := <-told; !strings.Contains(line, "no requests are taken") || !strings.Contains(line, "--db-sync") || !strings.Contains(line, "services") {
		t.Errorf("the log says %q", line)
	}
	stopped := errors.New("stopped")
	cancel(stopped)
	if err := <-waiting; !errors.Is(err, stopped) {
		t.Errorf("cancelled, it returns %v", err)
	}

	go func() { waiting <- i.awaitTables(t.Context()) }()
	<-told
	select {
	case err := <-waiting:
		t.Fatalf("it does not wait: %v", err)
	default:
	}
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}
