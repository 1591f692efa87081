// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"os"
	"strings"
	"testing"
)

// TestCancelOfAnOrphan kills a worker in the midst of a protection, and starts
// one without its provider: that leaves the operation alone until somebody wants
// to end it, and then ends it and says what stays.
func TestCancelOfAnOrphan(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE")
	s := newSlow(t)
	s.conf.set("DEFAULT", "operation_owner_hold", "4")
	s.conf.set("DEFAULT", "operation_scan_interval", "1")
	s.gate.shut()
	first := s.started("first")
	checkpoint := s.begin()
	first.kill()
	must(t, os.Remove(s.path("providers.d/"+s.plan.provider+".conf")))
	s.fsProvider(t.TempDir(), noop)
	second := s.started("second")
	second.logged("is left to another worker")

	var id string
	must(t, s.db.sql.QueryRow("SELECT id FROM protection_operations").Scan(&id))
	var shown struct {
		Status string `json:"status"`
		Reason string `json:"reason"`
	}
	look := func() string {
		s.api.call("show_operation", map[string]any{"operation_id": id}, &shown)
		return shown.Status
	}
	if status := look(); status != "running" || !strings.Contains(shown.Reason, "it waits for one that can go on with it") {
		t.Errorf("before the cancel it is %+v", shown)
	}
	s.api.call("cancel_operation", map[string]any{"operation_id": id}, nil)
	await(t, "the operation to end", func() (bool, any) { return look() != "running", shown })
	image := s.plan.resources[0]
	want := "cancelled by user " + s.api.caller.UserID + "; the status of checkpoint " + checkpoint + " stays as it is in the bank; " +
		"not removed: what was made of " + image.Type + "#" + image.ID + ": Provider " + s.plan.provider + " could not be found."
	if shown.Status != "cancelled" || shown.Reason != want {
		t.Errorf("it ended as %+v, want the reason %s", shown, want)
	}
	var status, info string
	must(t, s.db.sql.QueryRow("SELECT status, error_info FROM operation_logs WHERE id = ? AND ended_at IS NOT NULL", id).Scan(&status, &info))
	if status != "error" || info != want {
		t.Errorf("the operation log says %s, %s", status, info)
	}
}
