// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var withVolumes = []string{"KARBOR_TEST_CINDER", "KARBOR_TEST_VOLUMES", "KARBOR_TEST_SWIFT", "KARBOR_TEST_GLANCE"}

// What is written to a volume comes back from a backup, also from one of a
// snapshot and from one that holds only what has changed.
func TestRealBackup(t *testing.T) {
	t.Parallel()
	p := NewRealProject(t, withVolumes...)
	volume := p.Create(Volume, map[string]any{"size": 1, "name": "source"})
	p.WriteVolume(volume, 5<<20, Noise(3<<20+1)) // over a border between two objects
	first := p.ReadVolume(volume)
	snapshot := p.Create(VolumeSnapshot, map[string]any{"volume_id": volume, "name": "snapshot"})
	full := p.Create(VolumeBackup, map[string]any{"volume_id": volume, "container": "backups"})
	if n := len(p.Objects("backups")); n < 4 {
		t.Errorf("%d objects in the container", n)
	}

	p.WriteVolume(volume, 0, []byte("changed"))
	second := p.ReadVolume(volume)
	incremental := p.Create(VolumeBackup, map[string]any{"volume_id": volume, "container": "backups", "incremental": true})
	if shown := p.Show(VolumeBackup, incremental); shown["is_incremental"] != true {
		t.Errorf("not incremental: %v", shown)
	}
	ofSnapshot := p.Create(VolumeBackup, map[string]any{"volume_id": volume, "container": "backups", "snapshot_id": snapshot})
	p.Delete(VolumeSnapshot, snapshot)
	p.Delete(Volume, volume)

	for name, c := range map[string]struct {
		backup string
		want   []byte
	}{"full": {full, first}, "incremental": {incremental, second}, "of the snapshot": {ofSnapshot, first}} {
		if restored := p.Restore(c.backup, ""); !bytes.Equal(p.ReadVolume(restored), c.want) {
			t.Errorf("%s: other bytes came back", name)
		}
	}
	over := p.Create(Volume, map[string]any{"size": 2})
	p.WriteVolume(over, 0, Noise(20<<20))
	if p.Restore(full, over); !bytes.Equal(p.ReadVolume(over)[:16<<20], first) {
		t.Error("over a volume: other bytes came back")
	}
}

// Every way from one volume to another keeps the bytes.
func TestRealCopies(t *testing.T) {
	t.Parallel()
	p := NewRealProject(t, withVolumes...)
	before := p.Inventory()
	source := p.Create(Volume, map[string]any{"size": 1, "name": "source"})
	p.WriteVolume(source, 1000, Noise(1<<20))
	want := p.ReadVolume(source)
	snapshot := p.Create(VolumeSnapshot, map[string]any{"volume_id": source})
	image := p.UploadVolume(source, "picture")
	if !bytes.Equal(p.DownloadImage(image), want) {
		t.Error("the image has other bytes")
	}
	ids := []string{source}
	for way, from := range map[string]map[string]any{
		"snapshot": {"snapshot_id": snapshot}, "volume": {"source_volid": source}, "image": {"imageRef": image},
	} {
		from["size"] = 1
		id := p.Create(Volume, from)
		ids = append(ids, id)
		if !bytes.Equal(p.ReadVolume(id), want) {
			t.Errorf("from a %s: other bytes", way)
		}
	}
	p.Delete(VolumeSnapshot, snapshot)
	p.Delete(Image, image)
	for _, id := range ids {
		p.Delete(Volume, id)
	}
	if diff := cmp.Diff(before, p.Inventory()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// A test that asks for a fault gets it, and only it.
func TestRealVolumeFaults(t *testing.T) {
	t.Parallel()
	p := NewRealProject(t, withVolumes...)
	byName := p.Make(Volume, map[string]any{"size": 1, "name": "x fail-create"})
	p.Await(Volume, byName, "error")
	p.Delete(Volume, byName)

	marked := p.Create(Volume, map[string]any{"size": 1, "metadata": map[string]any{"fault": "fail-snapshot fail-connect fail-delete"}})
	p.Await(VolumeSnapshot, p.Make(VolumeSnapshot, map[string]any{"volume_id": marked}), "error")
	p.Await(VolumeBackup, p.Make(VolumeBackup, map[string]any{"volume_id": marked}), "error")
	for _, line := range p.Inventory() {
		if strings.HasPrefix(line, "volume snapshot ") {
			p.Delete(VolumeSnapshot, strings.Fields(line)[2])
		}
	}
	must(t, p.remove(p.ctx, Volume, marked))
	p.Await(Volume, marked, "error_deleting")
	if lines := p.Inventory(); !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, marked+" error_deleting") }) {
		t.Errorf("the inventory does not show it: %v", lines)
	}
}
