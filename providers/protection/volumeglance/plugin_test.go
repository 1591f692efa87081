// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"bytes"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
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

func plugin(c *storage.Cloud, snapshot bool) *Plugin {
	return New(Config{Config: poll.Config{PollInterval: time.Millisecond}, ObjectSize: pieceSize, FromSnapshot: snapshot}, c.Factory)
}

func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	return data
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

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{true, false} {
		t.Run(fmt.Sprint(snapshot), func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			data := noise(2*pieceSize + 17)
			c.AddVolume(disk.ID, "disk", data).Size = 2
			p, ctx := plugin(c, snapshot), openstacktest.Context(t)
			protect := h.Call(disk, "backup_name", "b", "description", "d")
			var told []int
			protect.Progress = func(percent int) { told = append(told, percent) }
			must(t, h.Run(ctx, p, protection.Protect, protect))
			want := fmt.Sprintf(`{"volume_id": %q, "volume_size": 2, "chunks_num": 3, "image_metadata": {"checksum": "%x", "disk_format": "raw", "container_format": "bare"}}`,
				disk.ID, md5.Sum(data))
			if got := h.Text(disk, "metadata"); got != want {
				t.Errorf("metadata is\n%s, not\n%s", got, want)
			}
			if diff := cmp.Diff([]string{"data_1", "data_2", "data_3", "manifest", "metadata", "status", "volume"}, h.Keys(disk)); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if got := h.Text(disk, "status"); got != "available" || len(told) == 0 || told[len(told)-1] != 100 {
				t.Errorf("status is %s, told %v", got, told)
			}
			nothingTemporary(t, c, 1)
			if snapshots := len(c.Calls("POST " + openstacktest.Cinder + "/snapshots")); (snapshots == 1) != snapshot {
				t.Errorf("%d snapshots were made", snapshots)
			}
			must(t, h.Run(ctx, p, protection.Verify, h.Call(disk)))

			h.State = &plugintest.State{} // each operation has its own
			c.Find(storage.Volumes, disk.ID).Data = nil
			must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
			id, _ := h.NewResources.Get(disk.ID)
			v := c.Find(storage.Volumes, id)
			if v == nil || !bytes.Equal(v.Data, data) || v.Name != h.Checkpoint.ID()+"@"+disk.ID || v.Size != 2 {
				t.Fatalf("restored %+v", v)
			}
			nothingTemporary(t, c, 2)
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
		})
	}
}

func nothingTemporary(t *testing.T, c *storage.Cloud, volumes int) {
	t.Helper()
	v, s, i := c.Things(storage.Volumes), c.Things(storage.Snapshots), c.Things(storage.Images)
	if len(v) != volumes || len(s) != 0 || len(i) != 0 {
		t.Errorf("there are %d volumes, %d snapshots and %d images", len(v), len(s), len(i))
	}
}

// The size of the objects is rounded as the original does.
func TestObjectSize(t *testing.T) {
	t.Parallel()
	clients := storage.New(t).Factory
	for size, want := range map[int]int{0: pieceSize, 1: pieceSize, pieceSize: pieceSize, 2*pieceSize - 1: pieceSize, 512 * pieceSize: 512 * pieceSize} {
		if got := New(Config{ObjectSize: size}, clients).cfg.ObjectSize; got != want {
			t.Errorf("%d becomes %d, not %d", size, got, want)
		}
	}
}

// What the original wrote has no manifest, and an empty object at the end.
func TestABackupOfTheOriginal(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	data := noise(pieceSize)
	section := h.Call(disk).Section
	must(t, section.PutBytes(t.Context(), "data_1", data))
	must(t, section.PutBytes(t.Context(), "data_2", nil))
	must(t, section.PutText(t.Context(), "metadata", fmt.Sprintf(
		`{"volume_id": %q, "volume_size": 1, "chunks_num": 2, "image_metadata": {"checksum": "%x", "disk_format": "raw", "container_format": "bare"}}`, disk.ID, md5.Sum(data))))
	must(t, section.PutText(t.Context(), "status", "available"))
	p, ctx := plugin(c, true), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Verify, h.Call(disk)))
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk, "restore_name", "back")))
	id, _ := h.NewResources.Get(disk.ID)
	if v := c.Find(storage.Volumes, id); v == nil || !bytes.Equal(v.Data, data) || v.Name != "back" {
		t.Errorf("restored %+v", v)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	if diff := cmp.Diff([]string{"status"}, h.Keys(disk)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// A restore of the checkpoint is not taken for what is temporary of its protect.
func TestDeleteLeavesRestoredVolumes(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", []byte("data"))
	p, ctx := plugin(c, true), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
	h.State = &plugintest.State{}
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
	must(t, h.Call(disk).Section.PutText(t.Context(), "status", "error")) // so that all is looked for
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	nothingTemporary(t, c, 2)
}

func TestFails(t *testing.T) {
	t.Parallel()
	nothing := func(*testing.T, *storage.Cloud, *plugintest.Harness) {}
	for name, tc := range map[string]struct {
		kind       protection.Kind
		arrange    func(t *testing.T, c *storage.Cloud, h *plugintest.Harness)
		parameters []string
		class      string
		reason     string
	}{
		"volume in error": {protection.Protect, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Find(storage.Volumes, disk.ID).Status = "error"
		}, nil, "CreateResourceFailed", "Create Volume Glance Backup failed: Volume is in erroneous state"},
		"snapshot fails": {protection.Protect, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Fail(storage.Snapshots, "")
		}, nil, "CreateResourceFailed", "The status of snapshot is error"},
		"temporary volume fails": {protection.Protect, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Fail(storage.Volumes, "")
		}, nil, "CreateResourceFailed", "Invalid status: error of temporary volume."},
		"upload fails": {protection.Protect, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Fail(storage.Images, "")
		}, nil, "CreateResourceFailed", "Invalid status: killed of temporary image."},
		"upload refused": {protection.Protect, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Refuse("POST /action", http.StatusBadRequest, "no quota for images")
		}, nil, "CreateResourceFailed", "no quota for images (HTTP 400)"},
		"unknown parameter": {protection.Protect, nothing, []string{"force", "true"}, "InvalidInput", "Parameter force is not known"},
		"volume fails": {protection.Restore, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Fail(storage.Volumes, "")
		}, nil, "RestoreResourceFailed", "Restored Volume is in erroneous state"},
		"image fails": {protection.Restore, func(_ *testing.T, c *storage.Cloud, _ *plugintest.Harness) {
			c.Fail(storage.Images, "")
		}, nil, "RestoreResourceFailed", "Create temporary image failed"},
		"data changed": {protection.Restore, func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.PutText(t.Context(), "data_1", "evil"))
		}, nil, "RestoreResourceFailed", "The checksum of restored image is invalid"},
		"data missing": {protection.Restore, func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.Delete(t.Context(), "data_1"))
		}, nil, "RestoreResourceFailed", "The chunks num of restored image is invalid"},
		"verify finds a change": {protection.Verify, func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.PutText(t.Context(), "data_1", "evil"))
		}, nil, "VerifyResourceFailed", "The data in the bank is not what was written: data_1 has SHA-256 "},
		"verify finds a hole": {protection.Verify, func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.Delete(t.Context(), "data_1"))
		}, nil, "VerifyResourceFailed", "The chunks num of restored image is invalid"},
		"verify, not available": {protection.Verify, func(t *testing.T, _ *storage.Cloud, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.PutText(t.Context(), "status", "error"))
		}, nil, "VerifyResourceFailed", "Verify Volume backup failed: The status of volume backup status is error."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.AddVolume(disk.ID, "disk", []byte("data"))
			p, ctx := plugin(c, true), openstacktest.Context(t)
			if tc.kind != protection.Protect {
				must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
				h.State = &plugintest.State{}
			}
			tc.arrange(t, c, h)
			err := h.Run(ctx, p, tc.kind, h.Call(disk, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			nothingTemporary(t, c, 1)
			if tc.kind == protection.Protect && h.Text(disk, "status") != "error" {
				t.Errorf("status is %s", h.Text(disk, "status"))
			}
			if records := h.Status.Records(); tc.kind != protection.Protect && records[len(records)-1].Status != "error" {
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

// What is temporary and stays costs nobody the backup or the volume, but is told of.
func TestWhatStaysIsRemarked(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", noise(10))
	p, ctx := plugin(c, false), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
	if diff := cmp.Diff(map[string]string{}, h.Remarks.Aspects()); diff != "" {
		t.Errorf("remarks of the protect (-want +got):\n%s", diff)
	}
	const image = "0e0f0c0a-0000-4000-8000-00000000000a"
	p.newID = func() string { return image }
	c.Refuse("DELETE /images/"+image, http.StatusConflict, "in use")
	h.State = &plugintest.State{}
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
	if diff := cmp.Diff(map[string]string{"leftovers": " -> the temporary image"}, h.Remarks.Aspects()); diff != "" {
		t.Errorf("remarks of the restore (-want +got):\n%s", diff)
	}
}
