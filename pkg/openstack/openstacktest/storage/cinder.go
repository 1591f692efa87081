// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// deletable lists the statuses in which Cinder allows deletion.
var deletable = map[string][]string{
	Volumes:   {"available", "error", "error_restoring", "error_extending", "error_managing"},
	Snapshots: {"available", "error"},
	Backups:   {"available", "error"},
}

// filters maps a listing to the filters that users may ask for.
// cinder: etc/cinder/resource_filters.json
var filters = map[string][]string{
	Volumes:   {"name", "status", "metadata"},
	Snapshots: {"name", "status", "metadata", "volume_id"},
	Backups:   {"name", "status", "volume_id"},
}

// members are the names of a single member of each collection.
var members = map[string]string{Volumes: "volume", Snapshots: "snapshot", Backups: "backup"}

func (c *Cloud) cinder() {
	for collection := range members {
		base := openstacktest.Cinder + "/" + collection
		c.handle("GET "+base+"/detail", func(w http.ResponseWriter, r *http.Request) { c.list(w, r, collection) })
		c.handle("GET "+base+"/{id}", func(w http.ResponseWriter, r *http.Request) { c.show(w, r, collection) })
		c.handle("DELETE "+base+"/{id}", func(w http.ResponseWriter, r *http.Request) { c.remove(w, r, collection) })
	}
	c.handle("GET "+openstacktest.Cinder+"/types", func(w http.ResponseWriter, _ *http.Request) {
		types := []any{}
		for name := range c.Types {
			types = append(types, map[string]any{"id": name, "name": name})
		}
		answer(w, http.StatusOK, map[string]any{"volume_types": types})
	})
	c.handle("GET "+openstacktest.Cinder+"/os-availability-zone", func(w http.ResponseWriter, _ *http.Request) {
		zones := []any{}
		for _, name := range c.Zones {
			zones = append(zones, map[string]any{"zoneName": name, "zoneState": map[string]any{"available": true}})
		}
		answer(w, http.StatusOK, map[string]any{"availabilityZoneInfo": zones})
	})
	c.handle("POST "+openstacktest.Cinder+"/volumes", c.createVolume)
	c.handle("PUT "+openstacktest.Cinder+"/volumes/{id}", c.changeVolume)
	c.handle("POST "+openstacktest.Cinder+"/volumes/{id}/action", c.uploadVolume)
	c.handle("POST "+openstacktest.Cinder+"/snapshots", c.createSnapshot)
	c.handle("POST "+openstacktest.Cinder+"/backups", c.createBackup)
	c.handle("POST "+openstacktest.Cinder+"/backups/{id}/restore", c.restoreBackup)
}

// view returns a thing as Cinder shows it.
func (c *Cloud) view(collection string, t *Thing) map[string]any {
	v := map[string]any{
		"id": t.ID, "name": t.Name, "description": t.Description, "status": t.Status, "size": t.Size, "metadata": t.Metadata,
	}
	switch collection {
	case Volumes:
		v["volume_type"], v["availability_zone"], v["encrypted"] = t.Type, t.Zone, c.Types[t.Type]
		v["group_id"] = nil
		if t.Group != "" {
			v["group_id"] = t.Group
		}
		if t.ImageName != "" {
			v["volume_image_metadata"] = map[string]string{"image_name": t.ImageName}
		}
	case Snapshots:
		v["volume_id"] = t.VolumeID
		v["os-extended-snapshot-attributes:progress"] = map[string]string{"creating": "40%", "available": "100%"}[t.Status]
	case Backups:
		v["volume_id"], v["container"], v["is_incremental"], v["fail_reason"] = t.VolumeID, t.Container, t.Incremental, nil
		if t.FailReason != "" {
			v["fail_reason"] = t.FailReason
		}
	}
	return v
}

func (c *Cloud) list(w http.ResponseWriter, r *http.Request, collection string) {
	query := r.URL.Query()
	marker := query.Get("marker")
	query.Del("marker")
	for name := range query {
		if !slices.Contains(filters[collection], name) {
			refuse(w, http.StatusBadRequest, "Invalid filters %s are found in query options.", name)
			return
		}
	}
	page, body := []map[string]any{}, map[string]any{}
	begun := marker == ""
	for _, t := range slices.Backward(slices.Clone(c.things[collection])) { // the newest first
		switch {
		case !begun:
			begun = t.ID == marker
		case !matches(t, query):
		case len(page) == c.PageSize:
			query.Set("marker", page[len(page)-1]["id"].(string))
			body[collection+"_links"] = []any{map[string]any{"rel": "next", "href": "http://elsewhere/" + collection + "?" + query.Encode()}}
			body[collection] = page
			answer(w, http.StatusOK, body)
			return
		default:
			if c.look(t); c.find(collection, t.ID) != nil {
				page = append(page, c.view(collection, t))
			}
		}
	}
	body[collection] = page
	answer(w, http.StatusOK, body)
}

func matches(t *Thing, query url.Values) bool {
	for name := range query {
		value := query.Get(name)
		switch name {
		case "name":
			if t.Name != value {
				return false
			}
		case "status":
			if t.Status != value {
				return false
			}
		case "volume_id":
			if t.VolumeID != value {
				return false
			}
		case "metadata":
			var wanted map[string]string
			if json.Unmarshal([]byte(value), &wanted) != nil {
				return false
			}
			for key, text := range wanted {
				if t.Metadata[key] != text {
					return false
				}
			}
		}
	}
	return true
}

// wanted finds the thing of a path, or answers that the thing does not exist.
func (c *Cloud) wanted(w http.ResponseWriter, collection, id string) *Thing {
	t := c.find(collection, id)
	if t == nil {
		refuse(w, http.StatusNotFound, "%s %s could not be found.", members[collection], id)
	}
	return t
}

func (c *Cloud) show(w http.ResponseWriter, r *http.Request, collection string) {
	t := c.wanted(w, collection, r.PathValue("id"))
	if t == nil {
		return
	}
	c.look(t)
	if c.find(collection, t.ID) == nil {
		refuse(w, http.StatusNotFound, "%s %s could not be found.", members[collection], t.ID)
		return
	}
	answer(w, http.StatusOK, map[string]any{members[collection]: c.view(collection, t)})
}

func (c *Cloud) remove(w http.ResponseWriter, r *http.Request, collection string) {
	t := c.wanted(w, collection, r.PathValue("id"))
	switch {
	case t == nil:
		return
	case !slices.Contains(deletable[collection], t.Status):
		refuse(w, http.StatusBadRequest, "Invalid %s: status must be %v", members[collection], deletable[collection])
		return
	case collection == Volumes && slices.ContainsFunc(c.things[Snapshots], func(s *Thing) bool { return s.VolumeID == t.ID }):
		refuse(w, http.StatusBadRequest, "Invalid volume: Volume must not have snapshots.")
		return
	case collection == Backups && slices.ContainsFunc(c.things[Backups], func(b *Thing) bool { return b.parent == t.ID }):
		refuse(w, http.StatusBadRequest, "Invalid backup: Incremental backups exist for this backup.")
		return
	}
	t.Status = "deleting"
	c.start(func() { c.drop(collection, t) }, t)
	w.WriteHeader(http.StatusAccepted)
}

// request is the body of any request that creates a thing.
type request struct {
	Name        *string           `json:"name"`
	Description *string           `json:"description"`
	Metadata    map[string]string `json:"metadata"`
	Size        int               `json:"size"`
	VolumeID    *string           `json:"volume_id"`
	SnapshotID  *string           `json:"snapshot_id"`
	ImageRef    *string           `json:"imageRef"`
	Type        *string           `json:"volume_type"`
	Zone        *string           `json:"availability_zone"`
	Container   *string           `json:"container"`
	Force       bool              `json:"force"`
	Incremental bool              `json:"incremental"`
}

// read decodes the member of a body, or answers that the body is invalid.
func read(w http.ResponseWriter, r *http.Request, member string) *request {
	var body map[string]*request
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body[member] == nil {
		refuse(w, http.StatusBadRequest, "Invalid input for field/attribute %s: %v", member, err)
		return nil
	}
	return body[member]
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (q *request) thing(status string) *Thing {
	return &Thing{
		ID: newID(), Name: text(q.Name), Description: text(q.Description), Status: status, Size: q.Size,
		Metadata: q.Metadata, VolumeID: text(q.VolumeID), SnapshotID: text(q.SnapshotID), Container: text(q.Container), Incremental: q.Incremental,
	}
}

func (c *Cloud) made(w http.ResponseWriter, collection string, t *Thing) {
	c.things[collection] = append(c.things[collection], t)
	answer(w, http.StatusAccepted, map[string]any{members[collection]: c.view(collection, t)})
}

func (c *Cloud) createVolume(w http.ResponseWriter, r *http.Request) {
	q := read(w, r, "volume")
	if q == nil {
		return
	}
	t := q.thing("creating")
	if t.Type, t.Zone = DefaultType, c.Zones[0]; q.Type != nil {
		t.Type = *q.Type
	}
	if source := c.find(Snapshots, text(q.SnapshotID)); source != nil && q.Type == nil {
		t.Type, t.Zone = cmp.Or(source.Type, t.Type), cmp.Or(source.Zone, t.Zone)
	}
	if q.Zone != nil {
		t.Zone = *q.Zone
	}
	if _, known := c.Types[t.Type]; !known {
		refuse(w, http.StatusNotFound, "Volume type with name %s could not be found.", t.Type)
		return
	}
	if !slices.Contains(c.Zones, t.Zone) {
		refuse(w, http.StatusBadRequest, "Availability zone '%s' is invalid.", t.Zone)
		return
	}
	var data []byte
	switch {
	case q.SnapshotID != nil:
		source := c.wanted(w, Snapshots, *q.SnapshotID)
		if source == nil {
			return
		}
		if source.Status != "available" || source.Size > t.Size {
			refuse(w, http.StatusBadRequest, "Invalid snapshot: its status is %s", source.Status)
			return
		}
		data = source.Data
	case q.ImageRef != nil:
		source := c.find(Images, *q.ImageRef)
		if source == nil || source.Status != "active" {
			refuse(w, http.StatusBadRequest, "Invalid image identifier or unable to access requested image.")
			return
		}
		t.Status, data = "downloading", source.Data
	}
	c.start(func() { c.become(Volumes, t, "available", data) }, t)
	c.made(w, Volumes, t)
}

func (c *Cloud) changeVolume(w http.ResponseWriter, r *http.Request) {
	t, q := c.wanted(w, Volumes, r.PathValue("id")), read(w, r, "volume")
	if t == nil || q == nil {
		return
	}
	if q.Name != nil {
		t.Name = *q.Name
	}
	if q.Description != nil {
		t.Description = *q.Description
	}
	answer(w, http.StatusOK, map[string]any{"volume": c.view(Volumes, t)})
}

// usable reports whether a volume can be read, or answers that it cannot.
func usable(w http.ResponseWriter, t *Thing, force bool) bool {
	if t.Status == "available" || t.Status == "in-use" && force {
		return true
	}
	refuse(w, http.StatusBadRequest, "Invalid volume: Volume %s status must be available, but current status is: %s.", t.ID, t.Status)
	return false
}

func (c *Cloud) createSnapshot(w http.ResponseWriter, r *http.Request) {
	q := read(w, r, "snapshot")
	if q == nil {
		return
	}
	source := c.wanted(w, Volumes, text(q.VolumeID))
	if source == nil || !usable(w, source, q.Force) {
		return
	}
	t := q.thing("creating")
	t.Size, t.Type, t.Zone = source.Size, source.Type, source.Zone
	data := slices.Clone(source.Data)
	c.start(func() { c.become(Snapshots, t, "available", data) }, t)
	c.made(w, Snapshots, t)
}

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
	t.Size, t.Type = source.Size, source.Type
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
		_, fails := c.fails["restores"]
		if delete(c.fails, "restores"); fails || c.Types[t.Type] != c.Types[target.Type] { // cinder: backup/driver.py, the encryption key
			target.Status = "error_restoring"
			return
		}
		target.Status, target.Data = "available", slices.Clone(t.Data)
	}, t, target)
	answer(w, http.StatusAccepted, map[string]any{"restore": map[string]any{"backup_id": t.ID, "volume_id": target.ID, "volume_name": target.Name}})
}
