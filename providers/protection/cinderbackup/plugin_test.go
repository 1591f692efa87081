// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func plugin(c *storage.Cloud, snapshot bool) *Plugin {
	return New(Config{Config: poll.Config{PollInterval: time.Millisecond}, FromSnapshot: snapshot}, c.Factory)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugin(storage.New(t), true))
}

func TestNoCopy(t *testing.T) {
	t.Parallel()
	if _, err := plugin(storage.New(t), true).Operation(protection.Copy, disk); !errors.Is(err, protection.ErrNoOperation) {
		t.Errorf("got %v", err)
	}
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{true, false} {
		t.Run(fmt.Sprint(snapshot), func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.AddVolume(disk.ID, "disk", []byte("data"))
			p, ctx := plugin(c, snapshot), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(disk, "backup_name", "b", "description", "d", "container", "box", "backup_mode", "full", "force", "True")))

			backups := c.Things(storage.Backups)
			if len(backups) != 1 {
				t.Fatalf("%d backups", len(backups))
			}
			b := backups[0]
			if b.Name != "b" || b.Description != "d" || b.Container != "box" || b.Incremental || (b.SnapshotID != "") != snapshot {
				t.Errorf("backup is %+v", b)
			}
			want := fmt.Sprintf(`{"volume_id": %q, "backup_id": %q}`, disk.ID, b.ID)
			if got := h.Text(disk, "metadata"); got != want {
				t.Errorf("metadata is %s, not %s", got, want)
			}
			if got := h.Text(disk, "status"); got != "available" {
				t.Errorf("status is %s", got)
			}
			if left := c.Things(storage.Snapshots); len(left) != 0 {
				t.Errorf("%d snapshots are left", len(left))
			}
			must(t, h.Run(ctx, p, protection.Verify, h.Call(disk)))

			c.Find(storage.Volumes, disk.ID).Data = nil
			must(t, h.Run(ctx, p, protection.Restore, h.Call(disk, "restore_name", "back", "restore_description", "rd")))
			id, _ := h.NewResources.Get(disk.ID)
			v := c.Find(storage.Volumes, id)
			if v == nil || string(v.Data) != "data" || v.Name != "back" || v.Description != "rd" || v.Size != 1 {
				t.Errorf("restored %+v", v)
			}
			other := plugintest.New(t)
			must(t, other.Run(ctx, p, protection.Protect, other.Call(disk, "force", "True")))
			must(t, other.Run(ctx, p, protection.Restore, other.Call(disk)))
			id2, _ := other.NewResources.Get(disk.ID)
			if v := c.Find(storage.Volumes, id2); v == nil || v.Description != "auto-created_from_restore_from_backup" {
				t.Errorf("restored without a description: %+v", v)
			}
			must(t, other.Run(ctx, p, protection.Delete, other.Call(disk)))
			records := []plugintest.Record{
				{Type: disk.Type, ID: disk.ID, Status: "available"},
				{Type: disk.Type, ID: id, Status: "restoring"},
				{Type: disk.Type, ID: id, Status: "available"},
			}
			if diff := cmp.Diff(records, h.Status.Records()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}

			must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
			if diff := cmp.Diff([]string{"status"}, h.Keys(disk)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			if left := c.Things(storage.Backups); len(left) != 0 || h.Text(disk, "status") != "deleted" {
				t.Errorf("%d backups are left, status %s", len(left), h.Text(disk, "status"))
			}
		})
	}
}

// The same checkpoint restored twice gives two volumes.
func TestRestoreTwice(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", []byte("data"))
	p, ctx := plugin(c, true), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
	for range 2 {
		h.State = &plugintest.State{}
		must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
	}
	if n := len(c.Things(storage.Volumes)); n != 3 {
		t.Errorf("%d volumes", n)
	}
	id, _ := h.NewResources.Get(disk.ID)
	if got, want := c.Find(storage.Volumes, id).Name, h.Checkpoint.ID()+"@"+disk.ID; got != want {
		t.Errorf("the name is %s, not %s", got, want)
	}
}

func TestRestoreIntoAVolume(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", []byte("data"))
	c.AddVolume("target", "mine", []byte("other"))
	p, ctx := plugin(c, true), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk, "volume_id", "target")))
	if v := c.Find(storage.Volumes, "target"); string(v.Data) != "data" || v.Name != "mine" {
		t.Errorf("restored %+v", v)
	}
	if id, _ := h.NewResources.Get(disk.ID); id != "target" || len(c.Things(storage.Volumes)) != 2 {
		t.Errorf("new resource is %s of %d", id, len(c.Things(storage.Volumes)))
	}
	h.State = &plugintest.State{}
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk, "volume_id", "target", "restore_name", "yours", "restore_description", "rd")))
	if v := c.Find(storage.Volumes, "target"); v.Name != "yours" || v.Description != "rd" {
		t.Errorf("renamed %+v", v)
	}
}

func TestIncremental(t *testing.T) {
	t.Parallel()
	c := storage.New(t)
	c.AddVolume(disk.ID, "disk", []byte("data"))
	p, ctx := plugin(c, true), openstacktest.Context(t)
	first, second := plugintest.New(t), plugintest.New(t)
	err := first.Run(ctx, p, protection.Protect, first.Call(disk, "backup_mode", "incremental"))
	if err == nil || !strings.Contains(err.Error(), "No backups available to do an incremental backup.") {
		t.Errorf("got %v", err)
	}
	first = plugintest.New(t)
	must(t, first.Run(ctx, p, protection.Protect, first.Call(disk, "backup_mode", "full")))
	must(t, second.Run(ctx, p, protection.Protect, second.Call(disk, "backup_mode", "incremental")))
	if !c.Things(storage.Backups)[1].Incremental {
		t.Error("the second backup is full")
	}
	err = first.Run(ctx, p, protection.Delete, first.Call(disk))
	if err == nil || !strings.Contains(err.Error(), "Incremental backups exist for this backup.") || first.Text(disk, "status") != "error" {
		t.Errorf("got %v", err)
	}
	must(t, second.Run(ctx, p, protection.Delete, second.Call(disk)))
	must(t, first.Run(ctx, p, protection.Delete, first.Call(disk)))
}

func TestForce(t *testing.T) {
	t.Parallel()
	for force, works := range map[string]bool{`"True"`: true, `true`: true, `"1"`: true, `"False"`: false, `false`: false, `null`: false} {
		c, h := storage.New(t), plugintest.New(t)
		c.AddVolume(disk.ID, "disk", nil).Status = "in-use"
		call := h.Call(disk)
		call.Parameters["force"] = json.RawMessage(force)
		err := h.Run(openstacktest.Context(t), plugin(c, false), protection.Protect, call)
		if (err == nil) != works {
			t.Errorf("force %s: %v", force, err)
		}
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
