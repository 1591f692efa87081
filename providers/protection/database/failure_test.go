// SPDX-License-Identifier: Apache-2.0

package database

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote/remotetest"
)

func TestProtectFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange    func(f *remotetest.Fake)
		parameters []string
		class      string
		reason     string
	}{
		"no instance":         {func(f *remotetest.Fake) { f.Things("instances")[0].ID = "other" }, nil, "CreateResourceFailed", "Database instance is in a error status."},
		"instance in error":   {func(f *remotetest.Fake) { f.Things("instances")[0].Status = "ERROR" }, nil, "CreateResourceFailed", "Database instance is in a error status."},
		"backup fails":        {func(f *remotetest.Fake) { f.Fail("backups") }, nil, "CreateResourceFailed", "The status of backup is FAILED"},
		"over the quota":      {func(f *remotetest.Fake) { f.Refuse("POST /backups", 413, "Quota exceeded for resources: ['backups'].") }, nil, "CreateResourceFailed", "Quota exceeded for resources: ['backups']. (HTTP 413)"},
		"unknown parameter":   {func(*remotetest.Fake) {}, []string{"colour", "red"}, "InvalidInput", "Parameter colour is not known"},
		"not in the original": {func(*remotetest.Fake) {}, []string{"force", "True"}, "InvalidInput", "Parameter force is not known; known are: backup_name, description."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h := newTrove(t), plugintest.New(t)
			tc.arrange(f)
			err := h.Run(openstacktest.Context(t), plugin(f), protection.Protect, h.Call(shop, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			if got := h.Text(shop, "status"); got != "error" {
				t.Errorf("status is %s", got)
			}
			if n := len(f.Things("backups")); n > 0 {
				t.Errorf("%d backups are left", n)
			}
		})
	}
}

func TestWhatIsLeftIsNamed(t *testing.T) {
	t.Parallel()
	f, h := newTrove(t), plugintest.New(t)
	f.Fail("backups")
	f.Refuse("DELETE ", http.StatusInternalServerError, "no") // of any path
	p, ctx := plugin(f), openstacktest.Context(t)
	err := h.Run(ctx, p, protection.Protect, h.Call(shop))
	left := f.Things("backups")
	if len(left) != 1 {
		t.Fatalf("%d backups", len(left))
	}
	want := "The status of backup is FAILED; backup " + left[0].ID + " is left behind: no (HTTP 500)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}

	// The deletion of the checkpoint finds it.
	f.Allow("DELETE ")
	must(t, h.Run(ctx, p, protection.Delete, h.Call(shop)))
	if n := len(f.Things("backups")); n != 0 {
		t.Errorf("%d backups are left", n)
	}
}

func TestTheDeadlineOfAWait(t *testing.T) {
	t.Parallel()
	f, h := newTrove(t), plugintest.New(t)
	f.Things("instances")[0].Status = "RESIZE"
	p := New(poll.Config{PollInterval: time.Millisecond, PollTimeout: time.Millisecond}, f.Factory)
	err := h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(shop))
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), "Database instance is in a error status.") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange        func(t *testing.T, f *remotetest.Fake, h *plugintest.Harness)
		status, reason string
	}{
		"no backup": {func(_ *testing.T, f *remotetest.Fake, _ *plugintest.Harness) { f.Things("backups")[0].ID = "other" }, "error", "Getting database backup fails."},
		"not done": {func(_ *testing.T, f *remotetest.Fake, _ *plugintest.Harness) {
			f.Things("backups")[0].Status = "SAVING"
		}, "SAVING", "The status of database backup status is SAVING."},
		"no metadata": {func(t *testing.T, _ *remotetest.Fake, h *plugintest.Harness) {
			must(t, h.Call(shop).Section.Delete(t.Context(), "metadata"))
		}, "error", "Get Object "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h := newTrove(t), plugintest.New(t)
			p, ctx := plugin(f), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(shop)))
			tc.arrange(t, f, h)
			if err := h.Run(ctx, p, protection.Verify, h.Call(shop)); !fault.Is(err, "VerifyResourceFailed") {
				t.Errorf("got %v", err)
			}
			records := h.Status.Records()
			if len(records) != 1 || records[0].ID != shop.ID || records[0].Status != tc.status || !strings.HasPrefix(records[0].Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
		})
	}
}

func TestRestoreFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange    func(t *testing.T, f *remotetest.Fake, h *plugintest.Harness)
		parameters []string
		class      string
		reason     string
	}{
		"no metadata": {func(t *testing.T, _ *remotetest.Fake, h *plugintest.Harness) {
			must(t, h.Call(shop).Section.Delete(t.Context(), "metadata"))
		}, nil, "RestoreResourceFailed", "Get Object "},
		"no backup": {func(_ *testing.T, f *remotetest.Fake, _ *plugintest.Harness) {
			f.Things("backups")[0].ID = "other"
		}, nil, "RestoreResourceFailed", "cannot be found. (HTTP 404)"},
		"instance fails":      {func(_ *testing.T, f *remotetest.Fake, _ *plugintest.Harness) { f.Fail("instances") }, nil, "RestoreResourceFailed", "Invalid status."},
		"unknown parameter":   {func(*testing.T, *remotetest.Fake, *plugintest.Harness) {}, []string{"colour", "red"}, "InvalidInput", "Parameter colour is not known"},
		"not in the original": {func(*testing.T, *remotetest.Fake, *plugintest.Harness) {}, []string{"restore_description", "d"}, "InvalidInput", "Parameter restore_description is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h := newTrove(t), plugintest.New(t)
			p, ctx := plugin(f), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(shop)))
			tc.arrange(t, f, h)
			h.State = &plugintest.State{}
			err := h.Run(ctx, p, protection.Restore, h.Call(shop, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			records := h.Status.Records()
			if n := len(records); n == 0 || records[n-1].Status != "error" || !strings.Contains(records[n-1].Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
			if n := len(f.Things("instances")); n != 1 {
				t.Errorf("%d instances", n)
			}
		})
	}
}

// A backup whose deletion has failed is not taken for deleted.
func TestDeleteFails(t *testing.T) {
	t.Parallel()
	f, h := newTrove(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(shop)))
	f.Things("backups")[0].Status = "DELETE_FAILED"
	err := h.Run(ctx, p, protection.Delete, h.Call(shop))
	if !fault.Is(err, "DeleteResourceFailed") || !strings.Contains(err.Error(), "DELETE_FAILED") {
		t.Errorf("got %v", err)
	}
	if got := h.Text(shop, "status"); got != "error" {
		t.Errorf("status is %s", got)
	}

	f.Looks = 1 // so that Trove is done before the first look
	must(t, h.Run(ctx, p, protection.Delete, h.Call(shop)))
}
