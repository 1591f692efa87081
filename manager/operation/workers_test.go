// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/journal"
)

// A worker is up while its announcement holds, down afterwards, and stopped when it has
// said so; what it has not ended is counted, however much that is.
func TestWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, hookPlugin{}, nil)
		announce := func(id string) {
			t.Helper()
			if err := b.engine.Journal.Announce(t.Context(), journal.Owner{ID: id, Host: "host-" + id}, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now().UTC()
		announce("a")
		announce("b")
		time.Sleep(2 * time.Minute)
		announce("b")
		announce("c")
		for i := range workersPage + 1 {
			entry := journal.Entry{ID: fmt.Sprintf("op-%04d", i), Kind: "protect", Claim: journal.Claim{Owner: "b"}, CreatedAt: start}
			if _, _, err := b.engine.Journal.Begin(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.engine.Journal.Retire(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		got, err := b.engine.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		later := start.Add(2 * time.Minute)
		want := []Worker{
			{ID: "a", Host: "host-a", State: "down", SeenAt: start}, {ID: "b", Host: "host-b", State: "up", SeenAt: later, Operations: workersPage + 1},
			{ID: "c", Host: "host-c", State: "stopped", SeenAt: later},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
