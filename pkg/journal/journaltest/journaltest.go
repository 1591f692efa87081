// SPDX-License-Identifier: Apache-2.0

// Package journaltest holds the conformance tests of journals. A journal's own tests
// call Run with a way to make one.
package journaltest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/journal"
)

// Factory is an empty store that no other test uses.
type Factory struct {
	// Open opens the store again, as another worker does, or the same worker after a
	// restart. The result is closed with the test.
	Open func(t testing.TB) journal.Journal
	// Durable tells that the store outlives the Close of a journal.
	Durable bool
}

// Run tests a journal. The function is called for each test.
func Run(t *testing.T, factory func(t *testing.T) Factory) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Factory)
	}{
		{"Begin", testBegin},
		{"BeginTwice", testBeginTwice},
		{"BeginAtOnce", testBeginAtOnce},
		{"Subjects", testSubjects},
		{"SubjectsAtOnce", testSubjectsAtOnce},
		{"Life", testLife},
		{"Claims", testClaims},
		{"Left", testLeft},
		{"Cancel", testCancel},
		{"Marks", testMarks},
		{"WritersAtOnce", testWritersAtOnce},
		{"OneRefusedWrite", testOneRefusedWrite},
		{"List", testList},
		{"Pages", testPages},
		{"Owners", testOwners},
		{"AnnouncementEnds", testAnnouncementEnds},
		{"Adopt", testAdopt},
		{"AdoptersAtOnce", testAdoptersAtOnce},
		{"AdoptersAndWriters", testAdoptersAndWriters},
		{"Locks", testLocks},
		{"LockersAtOnce", testLockersAtOnce},
		{"Prune", testPrune},
		{"Reopen", testReopen},
		{"BigInput", testBigInput},
		{"Texts", testTexts},
		{"Refused", testRefused},
		{"Context", testContext},
		{"Close", testClose},
		{"Model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, factory(t))
		})
	}
}

// patience bounds each wait of a test.
const patience = 5 * time.Minute

func claim(owner string) journal.Claim { return journal.Claim{Owner: owner} }

// entry returns an entry of the simplest kind.
func entry(owner string) journal.Entry {
	return journal.Entry{ID: uuid.NewString(), Kind: "protect", Claim: claim(owner), Input: json.RawMessage(`{"a":1}`)}
}

// begin begins an entry that must be accepted.
func begin(t testing.TB, j journal.Journal, e journal.Entry) journal.Entry {
	t.Helper()
	got, fresh, err := j.Begin(t.Context(), e)
	if err != nil || !fresh {
		t.Fatalf("begin: %v, fresh %v", err, fresh)
	}
	return got
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func announce(t testing.TB, j journal.Journal, owner string, hold time.Duration) {
	t.Helper()
	must(t, j.Announce(t.Context(), journal.Owner{ID: owner, Host: "host"}, hold))
}

func live(t testing.TB, j journal.Journal, owner string) bool {
	t.Helper()
	owners, err := j.Owners(t.Context())
	must(t, err)
	for _, o := range owners {
		if o.ID == owner {
			return o.Live
		}
	}
	return false
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Errorf("not in time: %s", what)
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func mark(key string, value any) journal.Mark {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a mistake of the test
	}
	return journal.Mark{Key: key, Value: text}
}

// marks returns the marks of an entry as text, one a line.
func marks(t testing.TB, j journal.Journal, id, prefix string) string {
	t.Helper()
	all, err := j.Marks(t.Context(), id, prefix)
	must(t, err)
	text := ""
	for _, m := range all {
		text += fmt.Sprintf("%s=%s\n", m.Key, m.Value)
	}
	return text
}
