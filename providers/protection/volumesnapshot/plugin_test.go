// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var disk = resource.Resource{Type: resource.Volume, ID: "39bf1b00-ebb7-4ffb-9069-021fda85d377", Name: "disk"}

func plugin(c *storage.Cloud) *Plugin {
	return New(poll.Config{PollInterval: time.Millisecond}, c.Factory)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugin(storage.New(t)))
}

func TestNoCopy(t *testing.T) {
	t.Parallel()
	if _, err := plugin(storage.New(t)).Operation(protection.Copy, disk); !errors.Is(err, protection.ErrNoOperation) {
		t.Errorf("got %v", err)
	}
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", []byte("data")).Size = 3
	p, ctx := plugin(c), openstacktest.Context(t)
	protect := h.Call(disk, "snapshot_name", "s", "description", "d", "force", "False")
	var told []int
	protect.Progress = func(percent int) { told = append(told, percent) }
	must(t, h.Run(ctx, p, protection.Protect, protect))
	snapshots := c.Things(storage.Snapshots)
	if len(snapshots) != 1 || snapshots[0].Name != "s" || snapshots[0].Description != "d" {
		t.Fatalf("snapshots are %+v", snapshots)
	}
	want := fmt.Sprintf(`{"volume_id": %q, "size": 3, "snapshot_id": %q}`, disk.ID, snapshots[0].ID)
	if got := h.Text(disk, "metadata"); got != want {
		t.Errorf("metadata is %s, not %s", got, want)
	}
	if got := h.Text(disk, "status"); got != "available" || len(told) == 0 || told[len(told)-1] != 100 { // what it was before is known to who looked then
		t.Errorf("status is %s, told %v", got, told)
	}
	must(t, h.Run(ctx, p, protection.Verify, h.Call(disk)))

	c.Find(storage.Volumes, disk.ID).Data = nil
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk, "restore_description", "rd")))
	id, _ := h.NewResources.Get(disk.ID)
	v := c.Find(storage.Volumes, id)
	if v == nil || string(v.Data) != "data" || v.Name != "volume-"+h.Checkpoint.ID()+"@"+disk.ID || v.Description != "rd" || v.Size != 3 {
		t.Errorf("restored %+v", v)
	}
	records := []plugintest.Record{
		{Type: disk.Type, ID: disk.ID, Status: "available"},
		{Type: disk.Type, ID: id, Status: "restoring"},
		{Type: disk.Type, ID: id, Status: "available"},
	}
	if diff := cmp.Diff(records, h.Status.Records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}

	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	if left := c.Things(storage.Snapshots); len(left) != 0 || h.Text(disk, "status") != "deleted" {
		t.Errorf("%d snapshots are left, status %s", len(left), h.Text(disk, "status"))
	}
	if diff := cmp.Diff([]string{"status"}, h.Keys(disk)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// What the original wrote has the same form.
func TestASnapshotOfTheOriginal(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.Add(storage.Snapshots, &storage.Thing{ID: "s1", Status: "available", Size: 2, VolumeID: disk.ID, Data: []byte("old")})
	section := h.Call(disk).Section
	must(t, section.PutText(t.Context(), "metadata", `{"volume_id": "`+disk.ID+`", "size": 2, "snapshot_id": "s1"}`))
	must(t, section.PutText(t.Context(), "status", "available"))
	p, ctx := plugin(c), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Verify, h.Call(disk)))
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk, "restore_name", "back")))
	id, _ := h.NewResources.Get(disk.ID)
	if v := c.Find(storage.Volumes, id); v == nil || string(v.Data) != "old" || v.Name != "back" || v.Size != 2 {
		t.Errorf("restored %+v", v)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	if n := len(c.Things(storage.Snapshots)); n != 0 {
		t.Errorf("%d snapshots are left", n)
	}
}

func TestFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind       protection.Kind
		arrange    func(t *testing.T, c *storage.Cloud, h *plugintest.Harness)
		parameters []string
		class      string
		reason     string
	}{
		"volume in error": {protection.Protect, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Find(storage.Volumes, disk.ID).Status = "error"
		}, nil, "CreateResourceFailed", "Create Volume Snapshot failed: Volume is in a error status."},
		"in use without force": {protection.Protect, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Find(storage.Volumes, disk.ID).Status = "in-use"
		}, nil, "CreateResourceFailed", "status must be available, but current status is: in-use. (HTTP 400)"},
		"snapshot fails": {protection.Protect, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Fail(storage.Snapshots, "")
		}, nil, "CreateResourceFailed", "The status of snapshot is error"},
		"unknown parameter": {protection.Protect, func(*testing.T, *storage.Cloud, *plugintest.Harness) {}, []string{"backup_name", "b"}, "InvalidInput", "Parameter backup_name is not known"},
		"volume fails": {protection.Restore, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Fail(storage.Volumes, "")
		}, nil, "RestoreResourceFailed", "Restore Volume Snapshot failed: Invalid status: error"},
		"no snapshot to restore": {protection.Restore, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Things(storage.Snapshots)[0].ID = "other"
		}, nil, "RestoreResourceFailed", "could not be found. (HTTP 404)"},
		"no metadata": {protection.Restore, func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.Delete(t.Context(), "metadata"))
		}, nil, "RestoreResourceFailed", "Get Object "},
		"no snapshot to verify": {protection.Verify, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Things(storage.Snapshots)[0].ID = "other"
		}, nil, "VerifyResourceFailed", "Verify Volume snapshot failed: Getting volume backup fails."},
		"snapshot in error": {protection.Verify, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Things(storage.Snapshots)[0].Status = "error"
		}, nil, "VerifyResourceFailed", "The status of volume snapshot status is error."},
		"snapshot stays": {protection.Delete, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Things(storage.Snapshots)[0].Status = "error_deleting"
		}, nil, "DeleteResourceFailed", "Invalid snapshot: status must be [available error] (HTTP 400)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.AddVolume(disk.ID, "disk", []byte("data"))
			p, ctx := plugin(c), openstacktest.Context(t)
			if tc.kind != protection.Protect {
				must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
				h.State = &plugintest.State{}
			}
			tc.arrange(t, c, h)
			snapshots := len(c.Things(storage.Snapshots))
			err := h.Run(ctx, p, tc.kind, h.Call(disk, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			if v, s := c.Things(storage.Volumes), c.Things(storage.Snapshots); len(v) != 1 || len(s) != snapshots {
				t.Errorf("%d volumes and %d snapshots are left", len(v), len(s))
			}
			if status := h.Text(disk, "status"); tc.kind != protection.Restore && tc.kind != protection.Verify && status != "error" {
				t.Errorf("status is %s", status)
			}
			if records := h.Status.Records(); (tc.kind == protection.Restore || tc.kind == protection.Verify) && records[len(records)-1].Status != "error" {
				t.Errorf("recorded %v", records)
			}
		})
	}
}

func TestSchemasOfTheOriginal(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/schemas.json")
	must(t, err)
	var want map[string]any
	must(t, json.Unmarshal(data, &want))
	got := map[string]any{}
	for name, schema := range map[string]json.RawMessage{"OPTIONS_SCHEMA": schemas.Options, "RESTORE_SCHEMA": schemas.Restore, "SAVED_INFO_SCHEMA": schemas.SavedInfo, "VERIFY_SCHEMA": schemas.Verify} {
		var value any
		must(t, json.Unmarshal(schema, &value))
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
