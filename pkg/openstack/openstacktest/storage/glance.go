// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

func (c *Cloud) glance() {
	const base = openstacktest.Glance + "/images"
	c.handle("GET "+base, c.listImages)
	c.handle("POST "+base, c.createImage)
	c.handle("GET "+base+"/{id}", c.showImage)
	c.handle("DELETE "+base+"/{id}", c.removeImage)
	c.handle("GET "+base+"/{id}/file", c.download)
	c.Handle("PUT "+base+"/{id}/file", c.upload)
}

// image is a thing as Glance shows it. The hashes are those of the data.
func image(t *Thing) map[string]any {
	v := map[string]any{
		"id": t.ID, "name": t.Name, "status": t.Status, "size": nil, "checksum": nil, "os_hash_algo": nil, "os_hash_value": nil,
	}
	if !t.noData {
		sum, hash := md5.Sum(t.Data), sha512.Sum512(t.Data)
		v["size"], v["checksum"] = len(t.Data), hex.EncodeToString(sum[:])
		v["os_hash_algo"], v["os_hash_value"] = "sha512", hex.EncodeToString(hash[:])
	}
	for name, value := range t.Properties {
		v[name] = value
	}
	return v
}

func (c *Cloud) listImages(w http.ResponseWriter, r *http.Request) {
	found := []map[string]any{}
	for _, t := range slices.Clone(c.things[Images]) {
		v, matches := image(t), true
		for name, values := range r.URL.Query() {
			matches = matches && v[name] == values[0]
		}
		if matches {
			c.look(t)
			found = append(found, image(t))
		}
	}
	answer(w, http.StatusOK, map[string]any{"images": found})
}

func (c *Cloud) createImage(w http.ResponseWriter, r *http.Request) {
	var properties map[string]any
	if err := json.NewDecoder(r.Body).Decode(&properties); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t := &Thing{ID: newID(), Status: "queued", Properties: properties, noData: true}
	if id, ok := properties["id"].(string); ok {
		t.ID = id
	}
	t.Name, _ = properties["name"].(string)
	if c.used[t.ID] {
		http.Error(w, "<html><body><h1>409 Conflict</h1>Image ID "+t.ID+" already exists!</body></html>", http.StatusConflict)
		return
	}
	c.used[t.ID] = true
	c.things[Images] = append(c.things[Images], t)
	answer(w, http.StatusCreated, image(t))
}

func (c *Cloud) wantedImage(w http.ResponseWriter, r *http.Request) *Thing {
	t := c.find(Images, r.PathValue("id"))
	if t == nil {
		http.Error(w, "<html><body><h1>404 Not Found</h1>No image found with ID "+r.PathValue("id")+"<br /></body></html>", http.StatusNotFound)
	}
	return t
}

func (c *Cloud) showImage(w http.ResponseWriter, r *http.Request) {
	if t := c.wantedImage(w, r); t != nil {
		c.look(t)
		answer(w, http.StatusOK, image(t))
	}
}

func (c *Cloud) removeImage(w http.ResponseWriter, r *http.Request) {
	if t := c.wantedImage(w, r); t != nil {
		c.drop(Images, t)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (c *Cloud) download(w http.ResponseWriter, r *http.Request) {
	t := c.wantedImage(w, r)
	switch {
	case t == nil:
	case t.Status != "active":
		http.Error(w, "the image is not active", http.StatusForbidden)
	case len(t.Data) == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		_, _ = w.Write(t.Data)
	}
}

// upload takes data without the lock: it comes as slowly as it likes.
func (c *Cloud) upload(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.wantedImage(w, r)
	if t == nil || err != nil { // a broken upload leaves the image queued
		return
	}
	if t.Status != "queued" {
		http.Error(w, "the image has data", http.StatusConflict)
		return
	}
	t.noData = false
	c.become(Images, t, "active", data)
	if t.Status == "error" {
		t.Status = "killed"
	}
	w.WriteHeader(http.StatusNoContent)
}

// uploadVolume makes an image of a volume, in Cinder's name.
func (c *Cloud) uploadVolume(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Upload *struct {
			ImageName       string `json:"image_name"`
			DiskFormat      string `json:"disk_format"`
			ContainerFormat string `json:"container_format"`
			Visibility      string `json:"visibility"`
			Force           bool   `json:"force"`
		} `json:"os-volume_upload_image"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Upload == nil {
		refuse(w, http.StatusBadRequest, "There is no such action")
		return
	}
	source := c.wanted(w, Volumes, r.PathValue("id"))
	if source == nil || !usable(w, source, body.Upload.Force) {
		return
	}
	t := &Thing{ID: newID(), Name: body.Upload.ImageName, Status: "queued", noData: true, Properties: map[string]any{
		"disk_format": body.Upload.DiskFormat, "container_format": body.Upload.ContainerFormat, "visibility": body.Upload.Visibility,
	}}
	c.used[t.ID] = true
	c.things[Images] = append(c.things[Images], t)
	before, data := source.Status, source.Data
	source.Status = "uploading"
	c.start(func() {
		source.Status, t.noData = before, false
		c.become(Images, t, "active", data)
		if t.Status == "error" {
			t.Status = "killed"
		}
	}, t, source)
	answer(w, http.StatusAccepted, map[string]any{"os-volume_upload_image": map[string]any{"id": source.ID, "image_id": t.ID, "status": "uploading"}})
}
