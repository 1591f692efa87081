// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func TestProtectFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange    func(c *storage.Cloud)
		parameters []string
		class      string
		reason     string
	}{
		"no volume":         {func(c *storage.Cloud) { c.Find(storage.Volumes, disk.ID).ID = "other" }, nil, "CreateResourceFailed", "Error creating snapshot for volume: volume 39bf1b00-ebb7-4ffb-9069-021fda85d377 could not be found. (HTTP 404)"},
		"snapshot fails":    {func(c *storage.Cloud) { c.Fail(storage.Snapshots, "") }, nil, "CreateResourceFailed", "Error creating snapshot for volume: "},
		"volume in error":   {func(c *storage.Cloud) { c.Refuse("GET /volumes/"+disk.ID, 404, "gone") }, nil, "CreateResourceFailed", "Volume is in errorneous state"},
		"backup fails":      {func(c *storage.Cloud) { c.Fail(storage.Backups, "no space left") }, nil, "CreateResourceFailed", "no space left"},
		"fails, no reason":  {func(c *storage.Cloud) { c.Fail(storage.Backups, "") }, nil, "CreateResourceFailed", "Unable to find backup"},
		"over the quota":    {func(c *storage.Cloud) { c.Refuse("POST /backups", 413, "BackupLimitExceeded: 10") }, nil, "CreateResourceFailed", "BackupLimitExceeded: 10 (HTTP 413)"},
		"unknown parameter": {func(*storage.Cloud) {}, []string{"colour", "red"}, "InvalidInput", "Parameter colour is not known"},
		"wrong mode":        {func(*storage.Cloud) {}, []string{"backup_mode", "half"}, "InvalidInput", `Parameter backup_mode is "half", want one of full, incremental.`},
		"wrong force":       {func(*storage.Cloud) {}, []string{"force", "maybe"}, "InvalidInput", `Parameter force is "maybe", want a boolean.`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.AddVolume(disk.ID, "disk", []byte("data"))
			tc.arrange(c)
			err := h.Run(openstacktest.Context(t), plugin(c, true), protection.Protect, h.Call(disk, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			if got := h.Text(disk, "status"); got != "error" {
				t.Errorf("status is %s", got)
			}
			if b, s := c.Things(storage.Backups), c.Things(storage.Snapshots); len(b)+len(s) > 0 {
				t.Errorf("%d backups and %d snapshots are left", len(b), len(s))
			}
		})
	}
}

// A snapshot that stays costs nobody the backup, but is told of.
func TestASnapshotThatStays(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", []byte("data"))
	p, ctx := plugin(c, true), openstacktest.Context(t)
	call := h.Call(disk)
	operation, err := p.Operation(protection.Protect, disk)
	must(t, err)
	must(t, operation.PrepareFinish(ctx, call))
	c.Refuse("DELETE /snapshots/"+c.Things(storage.Snapshots)[0].ID, http.StatusForbidden, "no")
	must(t, operation.Main(ctx, call))
	if diff := cmp.Diff(map[string]string{"leftovers": " -> the temporary snapshot"}, h.Remarks.Aspects()); diff != "" {
		t.Errorf("remarks (-want +got):\n%s", diff)
	}
}

func TestWhatIsLeftIsNamed(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", []byte("data"))
	c.Fail(storage.Backups, "no space left")
	p, ctx := plugin(c, true), openstacktest.Context(t)
	call := h.Call(disk)
	operation, err := p.Operation(protection.Protect, disk)
	must(t, err)
	must(t, operation.PrepareFinish(ctx, call))
	snapshot := c.Things(storage.Snapshots)[0]
	c.Refuse("DELETE /snapshots/"+snapshot.ID, http.StatusForbidden, "no")
	err = operation.Main(ctx, call)
	if want := "no space left; snapshot " + snapshot.ID + " is left behind: no (HTTP 403)"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}

	// The deletion of the checkpoint finds it.
	c.Allow("DELETE /snapshots/" + snapshot.ID)
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	if n := len(c.Things(storage.Snapshots)); n != 0 {
		t.Errorf("%d snapshots are left", n)
	}
}

func TestTheDeadlineOfAWait(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", nil).Status = "attaching"
	p := New(Config{Config: poll.Config{PollInterval: time.Millisecond, PollTimeout: time.Millisecond}}, c.Factory)
	err := h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(disk))
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), "Volume is in errorneous state") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange        func(t *testing.T, c *storage.Cloud, h *plugintest.Harness)
		status, reason string
	}{
		"no backup": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) { c.Things(storage.Backups)[0].ID = "other" }, "error", "Error getting volume backup."},
		"deleting": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Things(storage.Backups)[0].Status = "deleting"
		}, "deleting", "The status of volume backup status is deleting."},
		"no metadata": {func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.Delete(t.Context(), "metadata"))
		}, "error", "Get Object "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.AddVolume(disk.ID, "disk", []byte("data"))
			p, ctx := plugin(c, true), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
			tc.arrange(t, c, h)
			if err := h.Run(ctx, p, protection.Verify, h.Call(disk)); !fault.Is(err, "VerifyResourceFailed") {
				t.Errorf("got %v", err)
			}
			records := h.Status.Records()
			if len(records) != 1 || records[0].ID != disk.ID || records[0].Status != tc.status || !strings.HasPrefix(records[0].Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
		})
	}
}

func TestRestoreFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange    func(t *testing.T, c *storage.Cloud, h *plugintest.Harness)
		parameters []string
		class      string
		reason     string
	}{
		"no metadata": {func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.Delete(t.Context(), "metadata"))
		}, nil, "RestoreResourceFailed", "Get Object "},
		"no backup": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Things(storage.Backups)[0].ID = "other"
		}, nil, "RestoreResourceFailed", "could not be found. (HTTP 404)"},
		"backup in error": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Things(storage.Backups)[0].Status = "error"
		}, nil, "RestoreResourceFailed", "The status of volume backup status is error."},
		"no new volume": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) { c.Fail(storage.Volumes, "") }, nil, "RestoreResourceFailed", "Error creating volume"},
		"restore fails": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) { c.Fail("restores", "") }, nil, "RestoreResourceFailed", "Error creating volume"},
		"refused": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Refuse("POST /restore", 503, "no cinder-backup")
		}, nil, "RestoreResourceFailed", "no cinder-backup (HTTP 503)"},
		"no such target":    {func(*testing.T, *storage.Cloud, *plugintest.Harness) {}, []string{"volume_id", "none"}, "RestoreResourceFailed", "volume none could not be found. (HTTP 404)"},
		"unknown parameter": {func(*testing.T, *storage.Cloud, *plugintest.Harness) {}, []string{"colour", "red"}, "InvalidInput", "Parameter colour is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.AddVolume(disk.ID, "disk", []byte("data"))
			p, ctx := plugin(c, true), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
			h.State = &plugintest.State{}
			tc.arrange(t, c, h)
			err := h.Run(ctx, p, protection.Restore, h.Call(disk, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			if n := len(c.Things(storage.Volumes)); n != 1 {
				t.Errorf("%d volumes are left", n-1)
			}
			records := h.Status.Records()
			if last := records[len(records)-1]; last.Status != "error" || !strings.Contains(last.Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
			if _, ok := h.NewResources.Get(disk.ID); ok {
				t.Error("a new resource is noted")
			}
		})
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange func(t *testing.T, c *storage.Cloud, h *plugintest.Harness)
		reason  string // "" if it succeeds
	}{
		"gone already": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) { c.Things(storage.Backups)[0].ID = "other" }, ""},
		"no metadata, not finished": {func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.Delete(t.Context(), "metadata"))
			must(t, h.Call(disk).Section.PutText(t.Context(), "status", "error"))
		}, ""},
		"broken metadata": {func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.PutText(t.Context(), "metadata", "{"))
		}, "The metadata of the backup is not readable."},
		"stuck": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Things(storage.Backups)[0].Status = "error_deleting"
		}, "Invalid backup: status must be [available error] (HTTP 400)"},
		"away": {func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Refuse("DELETE /backups/"+c.Things(storage.Backups)[0].ID, 500, "no cinder-backup")
		}, "no cinder-backup (HTTP 500)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.AddVolume(disk.ID, "disk", []byte("data"))
			p, ctx := plugin(c, true), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
			tc.arrange(t, c, h)
			err := h.Run(ctx, p, protection.Delete, h.Call(disk))
			status := "deleted"
			if tc.reason != "" {
				status = "error"
				if !fault.Is(err, "DeleteResourceFailed") || !strings.Contains(err.Error(), tc.reason) {
					t.Errorf("got %v", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			if got := h.Text(disk, "status"); got != status {
				t.Errorf("status is %s", got)
			}
			if diff := cmp.Diff(tc.reason == "", len(h.Keys(disk)) == 1); diff != "" {
				t.Errorf("keys are %v", h.Keys(disk))
			}
		})
	}
}

func TestDeleteWaitsForARestore(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", []byte("data"))
	p, ctx := plugin(c, true), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
	client, err := c.BlockStorage(ctx)
	must(t, err)
	body := map[string]any{"restore": map[string]any{"volume_id": disk.ID}}
	_, err = client.Post(ctx, client.ServiceURL("backups", c.Things(storage.Backups)[0].ID, "restore"), body, nil, nil)
	must(t, err)
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	if n := len(c.Things(storage.Backups)); n != 0 {
		t.Errorf("%d backups are left", n)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", nil).Status = "attaching" // which does not end
	ctx, cancel := context.WithCancelCause(openstacktest.Context(t))
	cancel(&protection.CancelError{By: "user"})
	err := h.Run(ctx, plugin(c, false), protection.Protect, h.Call(disk))
	if !errors.Is(err, protection.ErrCancelled) || !strings.Contains(err.Error(), "cancelled by user") {
		t.Errorf("got %v", err)
	}
	if got := h.Text(disk, "status"); got != "error" {
		t.Errorf("status is %s", got)
	}
}
