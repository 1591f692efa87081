// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/manager/ownership"
	"github.com/karbor-project/karbor/pkg/journal"
)

// What a worker could not go on with stays with its dead owner, without a
// change of hands and said once, until a worker that can comes along.
func TestEntriesForAnotherWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := journal.NewMemory(nil)
		id := begin(t, j, uuid.NewString(), nil)
		log, lines := logtest.NewNullLogger()
		var able atomic.Bool
		w := newWorker(t, ownership.Config{Journal: j, Log: log, Able: func(e journal.Entry) error {
			if !able.Load() && e.ID == id {
				return errors.New("no such provider")
			}
			return nil
		}})
		w.start(t)
		defer w.end(t)
		later(time.Hour)
		entry, err := j.Get(t.Context(), id)
		if err != nil || entry.Generation != 1 || len(w.take()) != 0 {
			t.Fatalf("it has changed hands: %+v, %v", entry, err)
		}
		if said := len(lines.AllEntries()); said != 1 {
			t.Errorf("it said %d things", said)
		}
		able.Store(true)
		later(33 * time.Second)
		if got := w.take(); !slices.ContainsFunc(got, func(e journal.Entry) bool { return e.ID == id && e.Generation == 2 }) {
			t.Errorf("adopted %+v", got)
		}
	})
}
