// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"encoding/json"
	"net/http"
	"slices"
)

func (c *Cloud) createBackup(w http.ResponseWriter, r *http.Request) {
	q := read(w, r, "backup")
	if q == nil {
		return
	}
	if q.Metadata != nil && r.Header.Get("OpenStack-API-Version") != "volume 3.43" {
		refuse(w, http.StatusBadRequest, "Additional properties are not allowed ('metadata' was unexpected)")
		return
	}
	source := c.wanted(w, Volumes, text(q.VolumeID))
	if source == nil {
		return
	}
	t, before := q.thing("creating"), source.Status
	t.Size = source.Size
	if q.SnapshotID != nil {
		if source = c.wanted(w, Snapshots, *q.SnapshotID); source == nil {
			return
		}
		if source.Status != "available" {
			refuse(w, http.StatusBadRequest, "Invalid snapshot: Snapshot to be backed up must be available, but the current status is %q.", source.Status)
			return
		}
		before = source.Status
	} else if !usable(w, source, q.Force) {
		return
	}
	if q.Incremental {
		parents := slices.DeleteFunc(slices.Clone(c.things[Backups]), func(b *Thing) bool { return b.VolumeID != t.VolumeID || b.Status != "available" })
		if len(parents) == 0 {
			refuse(w, http.StatusBadRequest, "Invalid backup: No backups available to do an incremental backup.")
			return
		}
		t.parent = parents[len(parents)-1].ID
	}
	data := slices.Clone(source.Data)
	source.Status = "backing-up"
	c.start(func() {
		source.Status = before
		c.become(Backups, t, "available", data)
	}, t, source)
	c.made(w, Backups, t)
}

func (c *Cloud) restoreBackup(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Restore struct {
			VolumeID string `json:"volume_id"`
		} `json:"restore"`
	}
	t := c.wanted(w, Backups, r.PathValue("id"))
	if t == nil {
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	target := c.wanted(w, Volumes, body.Restore.VolumeID)
	switch {
	case target == nil:
		return
	case t.Status != "available":
		refuse(w, http.StatusBadRequest, "Invalid backup: Backup status must be available")
		return
	case target.Status != "available":
		refuse(w, http.StatusBadRequest, "Invalid volume: Volume to be restored to must be available")
		return
	case target.Size < t.Size:
		refuse(w, http.StatusBadRequest, "Invalid volume: volume size %d is too small to restore backup of size %d.", target.Size, t.Size)
		return
	}
	t.Status, target.Status = "restoring", "restoring-backup"
	c.start(func() {
		t.Status = "available"
		if _, fails := c.fails["restores"]; fails {
			delete(c.fails, "restores")
			target.Status = "error_restoring"
			return
		}
		target.Status, target.Data = "available", slices.Clone(t.Data)
	}, t, target)
	answer(w, http.StatusAccepted, map[string]any{"restore": map[string]any{"backup_id": t.ID, "volume_id": target.ID, "volume_name": target.Name}})
}
