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
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
)

// What a worker could not go on with stays with its dead owner, without a
// change of hands and said once, until a worker that can comes along.
func TestEntriesForAnotherWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory(nil)
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

// What no worker can go on with, and somebody wants to end, is given to one of
// them: after the time in which a worker that could would have taken it, and to
// that one if there is one.
func TestUnwantedEntries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		others    []bool        // workers beside the one that is not able: whether they are
		cancelled time.Duration // after the start
	}{
		"cancelled at once": {nil, 0},
		"cancelled later":   {nil, time.Hour},
		"two of them":       {[]bool{false}, time.Hour},
		"one that is able":  {[]bool{true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := journaltest.NewMemory(nil)
				id := begin(t, j, uuid.NewString(), nil)
				unable := func(journal.Entry) error { return errors.New("no such provider") }
				workers := []*worker{newWorker(t, ownership.Config{Journal: j, Able: unable})}
				for _, able := range c.others {
					config := ownership.Config{Journal: j, Able: unable}
					if able {
						config.Able = nil
					}
					workers = append(workers, newWorker(t, config))
				}
				for _, w := range workers {
					w.start(t)
					defer w.end(t)
				}
				later(c.cancelled)
				if err := j.Cancel(t.Context(), id, "alice"); err != nil {
					t.Fatal(err)
				}
				later(max(33*time.Second-c.cancelled, 3*time.Second)) // a hold, or else a look
				adopted := 0
				for i, w := range workers {
					got := w.take()
					adopted += len(got)
					able := i > 0 && c.others[i-1]
					if len(got) > 0 && (got[0].ID != id || able != slices.Contains(c.others, true) || !able && got[0].CancelledBy != "alice") {
						t.Errorf("worker %d adopted %+v", i, got)
					}
				}
				if adopted != 1 {
					t.Errorf("adopted %d times", adopted)
				}
			})
		})
	}
}
