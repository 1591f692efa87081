// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// What the original wrote into a bank, recorded from it.
const (
	originalMetadata = `{"volume_id": "39bf1b00-ebb7-4ffb-9069-021fda85d377", "backup_id": "e1e1d821-4393-42c5-a6d8-a2f38d5722e5"}`
	originalBackup   = "e1e1d821-4393-42c5-a6d8-a2f38d5722e5"
)

func TestABackupOfTheOriginal(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.Add(storage.Backups, &storage.Thing{ID: originalBackup, Name: "refbackup", Status: "available", Size: 1, VolumeID: disk.ID, Data: []byte("old")})
	section := h.Call(disk).Section
	must(t, section.PutText(t.Context(), "metadata", originalMetadata))
	must(t, section.PutText(t.Context(), "status", "available"))
	p, ctx := plugin(c, true), openstacktest.Context(t)

	must(t, h.Run(ctx, p, protection.Verify, h.Call(disk)))
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk, "restore_name", "restored-ref", "restore_description", "rd")))
	id, _ := h.NewResources.Get(disk.ID)
	if v := c.Find(storage.Volumes, id); v == nil || string(v.Data) != "old" || v.Name != "restored-ref" {
		t.Errorf("restored %+v", v)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	if n := len(c.Things(storage.Backups)); n != 0 {
		t.Errorf("%d backups are left", n)
	}
	if diff := cmp.Diff([]string{"status"}, h.Keys(disk)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// A protect of the original that failed has no metadata, and cannot be deleted
// there.
func TestAFailureOfTheOriginal(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	must(t, h.Call(disk).Section.PutText(t.Context(), "status", "error"))
	must(t, h.Run(openstacktest.Context(t), plugin(c, true), protection.Delete, h.Call(disk)))
	if got := h.Text(disk, "status"); got != "deleted" {
		t.Errorf("status is %s", got)
	}
}
