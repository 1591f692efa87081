// SPDX-License-Identifier: Apache-2.0

package share

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
)

func TestProtectFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange    func(f *manila)
		parameters []string
		class      string
		reason     string
	}{
		"no share":          {func(f *manila) { f.Things("shares")[0].ID = "other" }, nil, "CreateResourceFailed", "Share is in a error status."},
		"share in error":    {func(f *manila) { f.Things("shares")[0].Status = "error" }, nil, "CreateResourceFailed", "Share is in a error status."},
		"snapshot fails":    {func(f *manila) { f.Fail("snapshots") }, nil, "CreateResourceFailed", "The status of snapshot is error"},
		"over the quota":    {func(f *manila) { f.Refuse("POST /snapshots", 413, "SnapshotLimitExceeded") }, nil, "CreateResourceFailed", "SnapshotLimitExceeded (HTTP 413)"},
		"unknown parameter": {func(*manila) {}, []string{"colour", "red"}, "InvalidInput", "Parameter colour is not known"},
		"wrong force":       {func(*manila) {}, []string{"force", "maybe"}, "InvalidInput", `Parameter force is "maybe", want a boolean.`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h := newManila(t), plugintest.New(t)
			tc.arrange(f)
			err := h.Run(openstacktest.Context(t), plugin(f), protection.Protect, h.Call(home, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			if got := h.Text(home, "status"); got != "error" {
				t.Errorf("status is %s", got)
			}
			if n := len(f.Things("snapshots")); n > 0 {
				t.Errorf("%d snapshots are left", n)
			}
		})
	}
}

func TestWhatIsLeftIsNamed(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	f.Fail("snapshots")
	f.Refuse("DELETE ", http.StatusInternalServerError, "no") // of any path
	p, ctx := plugin(f), openstacktest.Context(t)
	err := h.Run(ctx, p, protection.Protect, h.Call(home))
	left := f.Things("snapshots")
	if len(left) != 1 {
		t.Fatalf("%d snapshots", len(left))
	}
	want := "The status of snapshot is error; snapshot " + left[0].ID + " is left behind: no (HTTP 500)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}

	// The deletion of the checkpoint finds it.
	f.Allow("DELETE ")
	must(t, h.Run(ctx, p, protection.Delete, h.Call(home)))
	if n := len(f.Things("snapshots")); n != 0 {
		t.Errorf("%d snapshots are left", n)
	}
}

func TestTheDeadlineOfAWait(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	f.Things("shares")[0].Status = "extending"
	p := New(poll.Config{PollInterval: time.Millisecond, PollTimeout: time.Millisecond}, f.Factory)
	err := h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(home))
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), "Share is in a error status.") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange        func(t *testing.T, f *manila, h *plugintest.Harness)
		status, reason string
	}{
		"no snapshot": {func(_ *testing.T, f *manila, _ *plugintest.Harness) { f.Things("snapshots")[0].ID = "other" }, "error", "Getting share snapshot fails."},
		"deleting": {func(_ *testing.T, f *manila, _ *plugintest.Harness) {
			f.Things("snapshots")[0].Status = "deleting"
		}, "deleting", "The status of share snapshot status is deleting."},
		"no metadata": {func(t *testing.T, _ *manila, h *plugintest.Harness) {
			must(t, h.Call(home).Section.Delete(t.Context(), "metadata"))
		}, "error", "Get Object "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h := newManila(t), plugintest.New(t)
			p, ctx := plugin(f), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(home)))
			tc.arrange(t, f, h)
			if err := h.Run(ctx, p, protection.Verify, h.Call(home)); !fault.Is(err, "VerifyResourceFailed") {
				t.Errorf("got %v", err)
			}
			records := h.Status.Records()
			if len(records) != 1 || records[0].ID != home.ID || records[0].Status != tc.status || !strings.HasPrefix(records[0].Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
		})
	}
}

func TestRestoreFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange    func(t *testing.T, f *manila, h *plugintest.Harness)
		parameters []string
		class      string
		reason     string
	}{
		"no metadata": {func(t *testing.T, _ *manila, h *plugintest.Harness) {
			must(t, h.Call(home).Section.Delete(t.Context(), "metadata"))
		}, nil, "RestoreResourceFailed", "Get Object "},
		"no snapshot": {func(_ *testing.T, f *manila, _ *plugintest.Harness) {
			f.Things("snapshots")[0].ID = "other"
		}, nil, "RestoreResourceFailed", "Snapshot could not be found. (HTTP 404)"},
		"share fails":         {func(_ *testing.T, f *manila, _ *plugintest.Harness) { f.Fail("shares") }, nil, "RestoreResourceFailed", "Invalid status."},
		"unknown parameter":   {func(*testing.T, *manila, *plugintest.Harness) {}, []string{"colour", "red"}, "InvalidInput", "Parameter colour is not known"},
		"not in the original": {func(*testing.T, *manila, *plugintest.Harness) {}, []string{"restore_description", "d"}, "InvalidInput", "Parameter restore_description is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h := newManila(t), plugintest.New(t)
			p, ctx := plugin(f), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(home)))
			tc.arrange(t, f, h)
			h.State = &plugintest.State{}
			err := h.Run(ctx, p, protection.Restore, h.Call(home, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			records := h.Status.Records()
			if n := len(records); n == 0 || records[n-1].Status != "error" || !strings.Contains(records[n-1].Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
			if n := len(f.Things("shares")); n != 1 {
				t.Errorf("%d shares", n)
			}
		})
	}
}

// A snapshot that hangs in its deletion is not taken for deleted.
func TestDeleteFails(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(home)))
	s := f.Things("snapshots")[0]
	s.Status = "error_deleting"
	err := h.Run(ctx, p, protection.Delete, h.Call(home))
	if !fault.Is(err, "DeleteResourceFailed") || !strings.Contains(err.Error(), "its status is error_deleting") {
		t.Errorf("got %v", err)
	}
	if got := h.Text(home, "status"); got != "error" {
		t.Errorf("status is %s", got)
	}
	s.Status = "error"
	must(t, h.Run(ctx, p, protection.Delete, h.Call(home)))
}
