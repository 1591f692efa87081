// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
)

// TestImageSizes takes images of particular sizes through both kinds of bank.
func TestImageSizes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.useCloud()
	db := s.useMariaDB()
	s.sync()
	store := swift(t)
	container, folder := store.container(), t.TempDir()
	banks := map[string]*provider{"folder": s.fsProvider(folder, image), "Swift": s.swiftProvider(container, image)}
	u := demo(t)
	w := s.started("worker")
	a := s.api(u.caller)
	for name, size := range map[string]int64{"nothing": 0, "one byte": 1, "one object": objectSize, "three objects": 3 * objectSize, "and a byte": 3*objectSize + 1} {
		source := u.upload(size)
		for bank, p := range banks {
			pl := a.plan(p.id, source)
			id := a.protected(pl)
			key := "/checkpoints/" + id + "/resource-data/" + source.ID + "/metadata"
			var text string
			if bank == "Swift" {
				text, _ = store.get(container, key)
			} else {
				content, err := os.ReadFile(filepath.Join(folder, "karbor", key))
				must(t, err)
				text = string(content)
			}
			var metadata struct {
				Chunks int64 `json:"chunks_num"`
			}
			must(t, json.Unmarshal([]byte(text), &metadata))
			if want := (size + objectSize - 1) / objectSize; metadata.Chunks != want {
				t.Errorf("%s into %s: %d objects, want %d", name, bank, metadata.Chunks, want)
			}
			restored := a.restored(db, u, pl, id, name)
			checkSame(t, u, source.ID, restored.image)
			a.delete(pl, id)
		}
	}
	w.stop()
}

// TestDamagedBackup restores and verifies a checkpoint whose data are not what
// they were.
func TestDamagedBackup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.useCloud()
	db := s.useMariaDB()
	s.sync()
	folder := t.TempDir()
	p := s.fsProvider(folder, image)
	u := demo(t)
	s.started("worker")
	a := s.api(u.caller)
	source := u.upload(2 * objectSize)
	pl := a.plan(p.id, source)
	id := a.protected(pl)
	data := filepath.Join(folder, "karbor", "checkpoints", id, "resource-data", source.ID)

	fails := func(table, method, class, argument, reason string) {
		t.Helper()
		name := "restored from damaged " + id
		record := db.addRecord(table, a.caller.ProjectID, pl, id)
		var parameters map[string]any
		if table == "restores" {
			parameters = map[string]any{resource.Image: map[string]any{"restore_name": name}}
		}
		a.call(method, map[string]any{argument: a.readArgs(class, record, pl, id, parameters)}, nil)
		got := db.finished(table, record)
		if got.Status != "fail" || !strings.Contains(got.ResourcesReason, reason) {
			t.Errorf("%s: %+v, want fail because of %q", method, got, reason)
		}
		if left := u.images(name); len(left) > 0 {
			t.Errorf("images are left behind: %v", left)
			for _, id := range left {
				u.removeImage(id)
			}
		}
	}
	object := filepath.Join(data, "data_1")
	good, err := os.ReadFile(object)
	must(t, err)
	bad := append([]byte{good[0] ^ 1}, good[1:]...)
	must(t, os.WriteFile(object, bad, 0o600))
	fails("restores", "restore", "Restore", "restore", "The checksum of restored image is invalid")

	must(t, os.Remove(object))
	fails("restores", "restore", "Restore", "restore", "The chunks num of restored image is invalid")
	fails("verifications", "verification", "Verification", "verification", "The chunks num of restored image is invalid")

	must(t, os.WriteFile(object, good, 0o600))
	restored := a.restored(db, u, pl, id, "whole again")
	checkSame(t, u, source.ID, restored.image)
}
