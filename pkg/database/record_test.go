// SPDX-License-Identifier: Apache-2.0

package database

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/fault"
)

func TestUpdateWritesWhatChanged(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, c *clock) {
		id := insert(t, db, "restores", assignment{"project_id", "p"}, assignment{"status", "in_progress"},
			assignment{"resources_status", `{"OS::Nova::Server#b": "restoring", "OS::Nova::Server#a": "restoring"}`})
		check := func(when, want string) {
			t.Helper()
			if got := columns(t, db, "restores", id, "updated_at", "status", "resources_status", "resources_reason"); got != want {
				t.Errorf("after %s the row is\n%s, want\n%s", when, got, want)
			}
		}
		update := func(u RecordUpdate) {
			t.Helper()
			c.Step()
			if err := db.Update(t.Context(), Restores, id, u); err != nil {
				t.Fatal(err)
			}
		}

		const old = `{"OS::Nova::Server#b": "restoring", "OS::Nova::Server#a": "restoring"}`
		update(RecordUpdate{})
		check("nothing", "NULL|in_progress|"+old+"|NULL")
		update(RecordUpdate{Status: ptr("in_progress"), ResourcesStatus: map[string]string{}, ResourcesReason: map[string]string{}})
		check("the same status and empty dicts", "NULL|in_progress|"+old+"|NULL")
		update(RecordUpdate{ResourcesStatus: map[string]string{"OS::Nova::Server#b": "restoring"}})
		check("the same entry", "NULL|in_progress|"+old+"|NULL")

		update(RecordUpdate{
			ResourcesStatus: map[string]string{"OS::Nova::Server#b": "available", "OS::Cinder::Volume#v": "größe"},
			ResourcesReason: map[string]string{"OS::Cinder::Volume#v": ""},
		})
		const changed = `{"OS::Nova::Server#b": "available", "OS::Nova::Server#a": "restoring", "OS::Cinder::Volume#v": "gr\u00f6\u00dfe"}` +
			`|{"OS::Cinder::Volume#v": ""}`
		check("entries", "2026-11-22 14:42:05|in_progress|"+changed)
		update(RecordUpdate{Status: ptr("success")})
		check("a status", "2026-11-22 14:42:06|success|"+changed)
	})
}

func TestRecordsAreRead(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, c *clock) {
		values := []assignment{
			{"project_id", "p"}, {"provider_id", "v"}, {"checkpoint_id", "c"}, {"status", "in_progress"},
			{"parameters", `{"OS::Nova::Server": {"name": "x"}}`}, {"resources_status", `{"T#a": "available", "T#b": null}`},
		}
		want := Record{
			ProjectID: "p", ProviderID: "v", CheckpointID: "c", Status: "in_progress",
			Parameters:      []byte(`{"OS::Nova::Server": {"name": "x"}}`),
			ResourcesStatus: map[string]string{"T#a": "available", "T#b": ""}, ResourcesReason: map[string]string{},
			CreatedAt: c.Now().UTC(),
		}
		want.ID = insert(t, db, "verifications", values...)
		got, err := db.Get(t.Context(), Verifications, want.ID)
		if diff := cmp.Diff(&want, got); err != nil || diff != "" {
			t.Errorf("verification: %v (-want +got):\n%s", err, diff)
		}
		want.RestoreTarget = "http://keystone"
		want.ID = insert(t, db, "restores", append(values, assignment{"restore_target", "http://keystone"})...)
		got, err = db.Get(t.Context(), Restores, want.ID)
		if diff := cmp.Diff(&want, got); err != nil || diff != "" {
			t.Errorf("restore: %v (-want +got):\n%s", err, diff)
		}
	})
}

func TestMissingRecords(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, _ *clock) {
		deleted := insert(t, db, "restores")
		markDeleted(t, db, "restores", deleted)
		for _, id := range []string{uuid.NewString(), deleted, "'; --"} {
			_, getRestore := db.Get(t.Context(), Restores, id)
			_, getVerification := db.Get(t.Context(), Verifications, id)
			_, getLog := db.GetOperationLog(t.Context(), id)
			for name, c := range map[string]struct {
				err   error
				class string
			}{
				"get restore":          {getRestore, "RestoreNotFound"},
				"update restore":       {db.Update(t.Context(), Restores, id, RecordUpdate{Status: ptr("fail")}), "RestoreNotFound"},
				"get verification":     {getVerification, "VerificationNotFound"},
				"update verification":  {db.Update(t.Context(), Verifications, id, RecordUpdate{}), "VerificationNotFound"},
				"get operation log":    {getLog, "OperationLogNotFound"},
				"update operation log": {db.UpdateOperationLog(t.Context(), id, OperationLogUpdate{}), "OperationLogNotFound"},
			} {
				if !fault.Is(c.err, c.class) {
					t.Errorf("%s %s: error is %v, want %s", name, id, c.err, c.class)
				}
			}
		}
	})
}

// A column that holds no dict, which nobody can read, does not stand in the way of
// an end.
func TestCorruptColumnGivesWay(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, _ *clock) {
		id := insert(t, db, "restores", assignment{"resources_status", `["no dict"]`})
		if _, err := db.Get(t.Context(), Restores, id); Refused(err) == nil || !strings.Contains(err.Error(), "resources_status") {
			t.Errorf("get: error is %v", err)
		}
		if err := db.Update(t.Context(), Restores, id, RecordUpdate{Status: ptr("fail"), ResourcesStatus: map[string]string{"T#a": "error"}}); err != nil {
			t.Errorf("update: %v", err)
		}
		if got := columns(t, db, "restores", id, "status", "resources_status"); got != `fail|{"T#a": "error"}` {
			t.Errorf("the row is %s", got)
		}
	})
}

// A restore of more resources than the column of MySQL has room for.
func TestRecordsOfManyResources(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, _ *clock) {
		for _, n := range []int{400, 1200} {
			statuses, reasons := map[string]string{}, map[string]string{}
			for i := range n {
				key := fmt.Sprintf("OS::Cinder::Volume#%s-%012d", uuid.NewString()[:23], i)
				statuses[key], reasons[key] = "available", fmt.Sprint(i)+strings.Repeat("größe", 80)
			}
			id := insert(t, db, "restores")
			for range 2 {
				if err := db.Update(t.Context(), Restores, id, RecordUpdate{Status: ptr("success"), ResourcesStatus: statuses, ResourcesReason: reasons}); err != nil {
					t.Fatal(err)
				}
			}
			r, err := db.Get(t.Context(), Restores, id)
			if err != nil || r.Status != "success" {
				t.Fatalf("status %q, %v", r.Status, err)
			}
			told, counted := 0, 0
			for key := range r.ResourcesStatus {
				more := 0
				if _, err := fmt.Sscanf(key, "OS::Cinder::Volume#%d more available", &more); err == nil && summary.MatchString(key) {
					counted += more
				} else {
					told++
				}
			}
			if told+counted != n || told < min(n, 800) || db.dialect.longText() == 0 && counted > 0 {
				t.Errorf("%d resources are named and %d counted, of %d", told, counted, n)
			}
		}
	})
}

// Two processes that update one record lose no entry of each other.
func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			if e.name == "memory" {
				t.Skip("each DB has a memory of its own")
			}
			url := e.url(t)
			workers := []*DB{openTest(t, url, Options{}), openTest(t, url, Options{})}
			if err := workers[0].Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			id := insert(t, workers[0], "restores")
			const each = 20
			var wg sync.WaitGroup
			for w, db := range workers {
				for half := range 2 {
					wg.Go(func() {
						for i := range each {
							entry := map[string]string{fmt.Sprintf("T#%d-%d-%d", w, half, i): "available"}
							if err := db.Update(t.Context(), Restores, id, RecordUpdate{ResourcesStatus: entry, ResourcesReason: entry}); err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
			}
			wg.Wait()
			r, err := workers[0].Get(t.Context(), Restores, id)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.ResourcesStatus) != 4*each || len(r.ResourcesReason) != 4*each {
				t.Errorf("%d statuses and %d reasons of %d are left", len(r.ResourcesStatus), len(r.ResourcesReason), 4*each)
			}
		})
	}
}

func TestEndedContextEndsACall(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, _ *clock) {
		lost := errors.New("lease lost")
		ctx, cancel := contextWithCause(t, lost)
		cancel()
		if err := db.Update(ctx, Restores, uuid.NewString(), RecordUpdate{}); !errors.Is(err, lost) {
			t.Errorf("error is %v, want the cause", err)
		}
	})
}
