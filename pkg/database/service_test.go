// SPDX-License-Identifier: Apache-2.0

package database

import (
	"testing"

	"github.com/google/uuid"
)

func TestServiceLife(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, c *clock) {
		s := Service{Host: "host-" + uuid.NewString(), Binary: "karbor-protection", Topic: "karbor-protection"}
		id, err := db.RegisterService(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		const all = "NULL|0|karbor-protection|karbor-protection|"
		row := func(id int64) string {
			t.Helper()
			return columns(t, db, "services", id, "created_at", "updated_at", "deleted_at", "deleted", "binary", "topic", "report_count",
				"disabled", "disabled_reason", "modified_at", "rpc_current_version", "rpc_available_version")
		}
		if got, want := row(id), "2026-11-22 14:42:01|NULL|"+all+"0|0|NULL|NULL|NULL|NULL"; got != want {
			t.Errorf("new row is\n%s, want\n%s", got, want)
		}

		c.Step()
		again := s
		again.Disabled = true
		if same, err := db.RegisterService(t.Context(), again); err != nil || same != id {
			t.Errorf("registered again as %d (%v), was %d", same, err, id)
		}
		beat := func(id int64) int64 {
			t.Helper()
			current, err := db.Heartbeat(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return current
		}
		beat(id)
		c.Step()
		if current := beat(id); current != id {
			t.Errorf("heartbeat moved from %d to %d", id, current)
		}
		if got, want := row(id), "2026-11-22 14:42:01|2026-11-22 14:42:03|"+all+"2|0|NULL|NULL|NULL|NULL"; got != want {
			t.Errorf("row after two heartbeats is\n%s, want\n%s", got, want)
		}

		markDeleted(t, db, "services", id)
		current := beat(id)
		if current == id {
			t.Fatal("heartbeat goes on with a deleted row")
		}
		if got, want := row(current), "2026-11-22 14:42:03|2026-11-22 14:42:03|"+all+"1|1|NULL|NULL|NULL|NULL"; got != want {
			t.Errorf("row made by a heartbeat is\n%s, want\n%s", got, want)
		}
		if next := beat(current); next != current {
			t.Errorf("heartbeat moved from %d to %d", current, next)
		}
		if fromOld := beat(id); fromOld != current {
			t.Errorf("a heartbeat of the old id went to %d, want %d", fromOld, current)
		}
	})
}

func TestHeartbeatOfAStranger(t *testing.T) {
	t.Parallel()
	db := openTest(t, "sqlite://", Options{})
	if _, err := db.Heartbeat(t.Context(), 7); err == nil {
		t.Error("no error")
	}
}
