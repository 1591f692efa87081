// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
)

// galera returns the journals of two workers, each at another node of a cluster, in a new
// database.
func galera(t *testing.T) []*journal.SQL {
	t.Helper()
	first := scratch(t, "KARBOR_TEST_GALERA", "mysql")
	here, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	there, err := url.Parse(os.Getenv("KARBOR_TEST_GALERA_SECOND"))
	if err != nil {
		t.Fatal(err)
	}
	there.Path = here.Path
	db := connect(t, there.String(), database.Options{})
	for err := db.Ping(t.Context()); err != nil; err = db.Ping(t.Context()) { // it hears of the new database a moment later
		if t.Context().Err() != nil || !strings.Contains(err.Error(), "Unknown database") {
			t.Fatal(err)
		}
	}
	return []*journal.SQL{open(t, first), open(t, there.String())}
}

// attempt is what one of several workers that do the same at the same time came to.
type attempt struct {
	worker int
	won    bool
	err    error
}

// together lets a worker at each node do the same at the same time.
func together(journals []*journal.SQL, do func(worker int, j *journal.SQL) (won bool, err error)) []attempt {
	attempts := make([]attempt, len(journals))
	var ready, done sync.WaitGroup
	ready.Add(len(journals))
	for worker, j := range journals {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			won, err := do(worker, j)
			attempts[worker] = attempt{worker, won, err}
		})
	}
	done.Wait()
	return attempts
}

// Two workers write to two nodes of a cluster, which know nothing of each other's locks
// until a transaction is committed: of what only one may do, one does it.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	journals := galera(t)
	owner := func(worker int) string { return fmt.Sprintf("worker-%d", worker) }
	for worker, j := range journals {
		if err := j.Announce(t.Context(), journal.Owner{ID: owner(worker)}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	const rounds = 100
	wins := make([]int, len(journals))
	expectOne := func(t *testing.T, what string, attempts []attempt) (winner int) {
		t.Helper()
		winner = -1
		for _, a := range attempts {
			switch {
			case a.err != nil:
				t.Fatalf("%s by worker %d: %v", what, a.worker, a.err)
			case a.won && winner >= 0:
				t.Fatalf("%s: both workers have done it", what)
			case a.won:
				winner = a.worker
				wins[winner]++
			}
		}
		if winner < 0 {
			t.Fatalf("%s: neither worker has done it", what)
		}
		return winner
	}
	for round := range rounds {
		subject, key := fmt.Sprintf("checkpoint-%d", round), uuid.NewString()
		ids := []string{uuid.NewString(), uuid.NewString()}

		// Operations of different messages on one checkpoint.
		var begun journal.Entry
		expectOne(t, "beginning an operation", together(journals, func(worker int, j *journal.SQL) (bool, error) {
			e, fresh, err := j.Begin(t.Context(), journal.Entry{ID: ids[worker], Kind: "delete", Subject: subject, Exclusive: true,
				Claim: journal.Claim{Owner: owner(worker)}})
			if errors.As(err, new(*journal.BusyError)) {
				return false, nil
			}
			if fresh {
				begun = e
			}
			return fresh, err
		}))

		// One message that both have received.
		ids = []string{uuid.NewString(), uuid.NewString()}
		expectOne(t, "recording a message", together(journals, func(worker int, j *journal.SQL) (bool, error) {
			_, fresh, err := j.Begin(t.Context(), journal.Entry{ID: ids[worker], Key: key, Kind: "protect", Claim: journal.Claim{Owner: owner(worker)}})
			return fresh, err
		}))

		// The owner ends its operation while the other takes it over, having seen it retired.
		ender, heir := 0, 1
		if begun.Owner == owner(1) {
			ender, heir = 1, 0
		}
		if err := journals[ender].Retire(t.Context(), owner(ender)); err != nil {
			t.Fatal(err)
		}
		expectOne(t, "ending or adopting an operation", together(journals, func(worker int, j *journal.SQL) (bool, error) {
			var err error
			if worker == heir {
				_, err = j.Adopt(t.Context(), begun.ID, begun.Claim, owner(heir))
			} else {
				err = j.End(t.Context(), begun.ID, begun.Claim, journal.Succeeded, "", nil)
			}
			if errors.Is(err, journal.ErrClaim) || errors.Is(err, journal.ErrOwnerLives) {
				return false, nil
			}
			return err == nil, err
		}))
		if err := journals[ender].Announce(t.Context(), journal.Owner{ID: owner(ender)}, time.Hour); err != nil {
			t.Fatal(err)
		}

		expectOne(t, "taking a lock", together(journals, func(worker int, j *journal.SQL) (bool, error) {
			return j.Lock(t.Context(), subject, owner(worker), time.Hour)
		}))
	}
	for worker, n := range wins {
		if n == 0 {
			t.Errorf("worker %d was never first: the workers did not meet", worker)
		}
	}
}
