// SPDX-License-Identifier: Apache-2.0

package database

import (
	"encoding/json"
	"testing"
)

func TestCreateRecords(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, _ *clock) {
		r := &Record{
			ProjectID: "p", ProviderID: "v", CheckpointID: "c", RestoreTarget: "http://keystone", Status: "in_progress",
			Parameters:      json.RawMessage(`{"OS::Nova::Server":{"name":"ü"}}`),
			ResourcesReason: map[string]string{"T#a": ""},
		}
		id, err := db.Create(t.Context(), Restores, r)
		if err != nil {
			t.Fatal(err)
		}
		want := `0|p|v|c|in_progress|{"OS::Nova::Server": {"name": "\u00fc"}}|NULL|{"T#a": ""}`
		of := func(table, id string) string {
			t.Helper()
			return columns(t, db, table, id, "deleted", "project_id", "provider_id", "checkpoint_id", "status", "parameters", "resources_status", "resources_reason")
		}
		if got := of("restores", id); got != want {
			t.Errorf("restore is\n%s, want\n%s", got, want)
		}
		if got := columns(t, db, "restores", id, "restore_target"); got != "http://keystone" {
			t.Errorf("restore target is %s", got)
		}
		r.ID, r.Status = id, "fail"
		if again, err := db.Create(t.Context(), Restores, r); err != nil || again != id || of("restores", id) != want {
			t.Errorf("inserted again as %s (%v)", again, err)
		}
		r.Status, r.Parameters = "in_progress", json.RawMessage(`{}`)
		if id, err = db.Create(t.Context(), Verifications, r); err != nil {
			t.Fatal(err)
		}
		if got, want := of("verifications", id), `0|p|v|c|in_progress|NULL|NULL|{"T#a": ""}`; got != want {
			t.Errorf("verification is\n%s, want\n%s", got, want)
		}
		r.Parameters = json.RawMessage(`{`)
		if _, err := db.Create(t.Context(), Verifications, r); err == nil {
			t.Error("bad parameters are stored")
		}
	})
}

func BenchmarkUpdateRestore(b *testing.B) {
	db, err := Open(b.Context(), "sqlite:///"+b.TempDir()+"/karbor.sqlite", Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	id, err := db.Create(b.Context(), Restores, &Record{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		entry := map[string]string{"OS::Cinder::Volume#v": []string{"restoring", "available"}[i%2]}
		if err := db.Update(b.Context(), Restores, id, RecordUpdate{ResourcesStatus: entry}); err != nil {
			b.Fatal(err)
		}
	}
}
