// SPDX-License-Identifier: Apache-2.0

package database

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestOperationLogLife(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, c *clock) {
		started := c.Now()
		id, err := db.CreateOperationLog(t.Context(), &OperationLog{
			ProjectID: "p", OperationType: "protect", CheckpointID: "c", PlanID: "l", ProviderID: "v",
			Status: "protecting", StartedAt: started,
		})
		if err != nil {
			t.Fatal(err)
		}
		all := []string{
			"created_at", "updated_at", "deleted_at", "deleted", "project_id", "operation_type", "checkpoint_id", "plan_id", "provider_id",
			"restore_id", "scheduled_operation_id", "status", "started_at", "ended_at", "error_info", "extra_info",
		}
		check := func(when, want string) {
			t.Helper()
			if got := columns(t, db, "operation_logs", id, append([]string(nil), all...)...); got != want {
				t.Errorf("after %s the row is\n%s, want\n%s", when, got, want)
			}
		}
		update := func(u OperationLogUpdate) {
			t.Helper()
			if err := db.UpdateOperationLog(t.Context(), id, u); err != nil {
				t.Fatal(err)
			}
		}
		check("insert", "2026-11-22 14:42:01|NULL|NULL|0|p|protect|c|l|v|NULL|NULL|protecting|2026-11-22 14:42:01|NULL|NULL|NULL")
		c.Step()
		update(OperationLogUpdate{Status: ptr("protecting")})
		check("no change", "2026-11-22 14:42:01|NULL|NULL|0|p|protect|c|l|v|NULL|NULL|protecting|2026-11-22 14:42:01|NULL|NULL|NULL")
		ended := c.Step()
		end := OperationLogUpdate{Status: ptr("error"), ErrorInfo: ptr("no space left"), EndedAt: &ended}
		update(end)
		c.Step()
		update(end)
		check("end", "2026-11-22 14:42:01|2026-11-22 14:42:03|NULL|0|p|protect|c|l|v|NULL|NULL|error|2026-11-22 14:42:01|2026-11-22 14:42:03|no space left|NULL")

		got, err := db.GetOperationLog(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		want := &OperationLog{
			ID: id, ProjectID: "p", OperationType: "protect", CheckpointID: "c", PlanID: "l", ProviderID: "v", Status: "error",
			StartedAt: started.UTC(), EndedAt: ended, ErrorInfo: "no space left", CreatedAt: started.UTC(), UpdatedAt: ended,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("operation log (-want +got):\n%s", diff)
		}
	})
}

func TestOperationLogIsInsertedOnce(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, _ *clock) {
		l := &OperationLog{ID: uuid.NewString(), ProjectID: "p", OperationType: "copy", Status: "wait_copying"}
		for range 2 {
			if id, err := db.CreateOperationLog(t.Context(), l); err != nil || id != l.ID {
				t.Fatalf("id %s, error %v", id, err)
			}
			l.Status = "copying" // the second insert changes nothing
		}
		if got := columns(t, db, "operation_logs", l.ID, "status"); got != "wait_copying" {
			t.Errorf("status is %s", got)
		}
	})
}

func TestAnyErrorTextIsStored(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, _ *clock) {
		text := "disk \U0001F4BE\x00\xff " + strings.Repeat("ü", maxText)
		id, err := db.CreateOperationLog(t.Context(), &OperationLog{ProjectID: "p", OperationType: "protect", ErrorInfo: text})
		if err != nil {
			t.Fatal(err)
		}
		l, err := db.GetOperationLog(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(l.ErrorInfo, "disk ") || len(l.ErrorInfo) > maxText || len(l.ErrorInfo) < maxText-3 {
			t.Errorf("%d bytes are stored: %.20q", len(l.ErrorInfo), l.ErrorInfo)
		}
		if err := db.UpdateOperationLog(t.Context(), id, OperationLogUpdate{ErrorInfo: &text, EndedAt: ptr(time.Now())}); err != nil {
			t.Error(err)
		}
	})
}

// Open rows are those without an end, whatever their status.
func TestCloseOperationLogs(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, c *clock) {
		checkpoint, other := uuid.NewString(), uuid.NewString()
		row := func(checkpointID, kind, status string, ended time.Time) string {
			t.Helper()
			id, err := db.CreateOperationLog(t.Context(), &OperationLog{
				ProjectID: "p", OperationType: kind, CheckpointID: checkpointID, Status: status, StartedAt: c.Now(), EndedAt: ended})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		earlier := c.Now()
		open, unnamed := row(checkpoint, "protect", "protecting", time.Time{}), row(checkpoint, "protect", "", time.Time{})
		left := []string{
			row(checkpoint, "protect", "available", earlier), row(checkpoint, "restore", "running", time.Time{}),
			row(other, "protect", "protecting", time.Time{}),
		}
		gone := row(checkpoint, "protect", "protecting", time.Time{})
		markDeleted(t, db, "operation_logs", gone)
		left = append(left, gone)
		before := map[string]string{}
		all := func(id string) string {
			return columns(t, db, "operation_logs", id, "status", "ended_at", "error_info", "updated_at")
		}
		for _, id := range left {
			before[id] = all(id)
		}
		ended := c.Step()
		for _, want := range []int{2, 0} { // the second time they are closed
			n, err := db.CloseOperationLogs(t.Context(), checkpoint, "protect", "error", "it is gone", ended)
			if n != want || err != nil {
				t.Errorf("%d rows closed, %v, want %d", n, err, want)
			}
			c.Step()
		}
		for _, id := range []string{open, unnamed} {
			if got, want := all(id), "error|2026-11-22 14:42:02|it is gone|2026-11-22 14:42:02"; got != want {
				t.Errorf("the row is %s, want %s", got, want)
			}
		}
		for _, id := range left {
			if got := all(id); got != before[id] {
				t.Errorf("a row that is not to be closed was %s and is %s", before[id], got)
			}
		}
	})
}

// Ids of other people's checkpoints that have no room are left out: they keep no
// operation from its row.
func TestIdsWithoutRoomAreNone(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, db *DB, _ *clock) {
		for _, odd := range []string{strings.Repeat("x", 40), "a\x00b", "\U0001f4be", "\xff"} {
			l := &OperationLog{ProjectID: "p", OperationType: "delete", PlanID: odd, ScheduledOperationID: odd, ExtraInfo: strings.Repeat("x", 70_000)}
			if l.Check() == nil {
				t.Errorf("%q passes the check", odd)
			}
			id, err := db.CreateOperationLog(t.Context(), l)
			if err != nil {
				t.Fatalf("%q: %v", odd, err)
			}
			if got := columns(t, db, "operation_logs", id, "project_id", "plan_id", "scheduled_operation_id"); got != "p|NULL|NULL" {
				t.Errorf("%q: the row is %s", odd, got)
			}
		}
	})
}
