// SPDX-License-Identifier: Apache-2.0

// Package storage is a Cinder and a Glance for tests. They keep bytes, change after a few
// looks, and refuse the requests that the real services refuse.
// cinder: volume/api.py, backup/api.py, objects/fields.py; glance: api/v2/images.py
package storage

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// Cloud has volumes, snapshots, backups and images.
type Cloud struct {
	*openstacktest.Cloud
	// Looks is the number of looks at a thing that see it in transition; 2 by default.
	Looks int
	// PageSize bounds a page of Cinder's listings; 1000 by default.
	PageSize int
	// Types maps the names of the volume types to whether their volumes are encrypted.
	// The first zone is the default.
	Types map[string]bool
	Zones []string

	mu      sync.Mutex
	things  map[string][]*Thing // by collection, in the order of their creation
	jobs    []*job
	fails   map[string]string
	refuses map[string]refusal
	used    map[string]bool // ids of images
	held    bool
}

// Thing is a volume, a snapshot, a backup or an image. Tests may read its fields
// between the calls of a plugin.
type Thing struct {
	ID, Name, Description string
	Status, FailReason    string
	Size                  int // GiB
	VolumeID, SnapshotID  string
	Metadata              map[string]string
	Container             string
	Incremental           bool
	Data                  []byte
	// Type and Zone belong to a volume; a backup and a snapshot have those of their
	// volume.
	Type, Zone string
	// ImageName is the name of the image that a volume was made of, and Group the id of
	// the group that it is in.
	ImageName, Group string
	// Properties are an image's properties.
	Properties map[string]any

	parent string // id of the backup that an incremental one builds on
	noData bool   // an image before its upload
}

// job is a change in progress. It ends after a few looks at any of its things.
type job struct {
	things []*Thing
	looks  int
	end    func()
}

type refusal struct {
	status int
	body   string
}

// Collections of things.
const (
	Volumes   = "volumes"
	Snapshots = "snapshots"
	Backups   = "backups"
	Images    = "images"
)

// DefaultType is the type of volumes for which none is requested.
const DefaultType = "__DEFAULT__"

// New starts an empty cloud that ends with the test.
func New(t testing.TB) *Cloud {
	t.Helper()
	c := &Cloud{
		Cloud: openstacktest.New(t), Looks: 2, PageSize: 1000, Types: map[string]bool{DefaultType: false}, Zones: []string{"nova"},
		things: map[string][]*Thing{}, fails: map[string]string{}, refuses: map[string]refusal{}, used: map[string]bool{},
	}
	c.cinder()
	c.glance()
	return c
}

// AddVolume adds an available volume of 1 GiB.
func (c *Cloud) AddVolume(id, name string, data []byte) *Thing {
	return c.add(Volumes, &Thing{ID: id, Name: name, Status: "available", Size: 1, Data: data, Type: DefaultType, Zone: c.Zones[0]})
}

// Add stores a thing unchanged.
func (c *Cloud) Add(collection string, t *Thing) *Thing { return c.add(collection, t) }

func (c *Cloud) add(collection string, t *Thing) *Thing {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.things[collection] = append(c.things[collection], t)
	return t
}

// Busy puts a thing into a status that ends after a few looks.
func (c *Cloud) Busy(collection, id, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.find(collection, id)
	before := t.Status
	t.Status = status
	c.start(func() { t.Status = before }, t)
}

// Fail makes the next new member of a collection end in status "error"; a backup also
// gets the reason.
func (c *Cloud) Fail(collection, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails[collection] = reason
}

// Refuse answers all calls with a method and the end of a path, such as "POST
// /backups", with an error. The message is Cinder's way to say why.
func (c *Cloud) Refuse(call string, status int, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuses[call] = refusal{status, fmt.Sprintf(`{"fault": {"message": %q, "code": %d}}`, message, status)}
}

// Allow ends what Refuse began.
func (c *Cloud) Allow(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.refuses, call)
}

// Things returns all members of a collection.
func (c *Cloud) Things(collection string) []*Thing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.things[collection])
}

// Find returns a thing, nil if it does not exist.
func (c *Cloud) Find(collection, id string) *Thing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(collection, id)
}

// Inventory lists all things with status, size and data.
func (c *Cloud) Inventory(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var there []string
	for collection, things := range c.things {
		for _, t := range things {
			there = append(there, fmt.Sprintf("%s %q %s %d GiB %.6x", collection, t.Name, t.Status, t.Size, sha256.Sum256(t.Data)))
		}
	}
	return there, nil
}

func (c *Cloud) find(collection, id string) *Thing {
	for _, t := range c.things[collection] {
		if t.ID == id {
			return t
		}
	}
	return nil
}

func (c *Cloud) drop(collection string, t *Thing) {
	c.things[collection] = slices.DeleteFunc(c.things[collection], func(other *Thing) bool { return other == t })
}

// start schedules a change after a few looks at the things.
func (c *Cloud) start(end func(), things ...*Thing) {
	c.jobs = append(c.jobs, &job{things: things, looks: c.Looks, end: end})
}

// Hold keeps all changes from ending until Release, regardless of the number of looks.
func (c *Cloud) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// Release ends Hold.
func (c *Cloud) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
}

// look is one look at a thing.
func (c *Cloud) look(t *Thing) {
	if c.held {
		return
	}
	for _, j := range slices.Clone(c.jobs) {
		if !slices.Contains(j.things, t) {
			continue
		}
		if j.looks--; j.looks <= 0 {
			c.jobs = slices.DeleteFunc(c.jobs, func(other *job) bool { return other == j })
			j.end()
		}
	}
}

// become ends the creation of a thing.
func (c *Cloud) become(collection string, t *Thing, status string, data []byte) {
	if reason, ok := c.fails[collection]; ok {
		delete(c.fails, collection)
		t.Status, t.FailReason = "error", reason
		return
	}
	t.Status, t.Data = status, slices.Clone(data)
}

// handle answers a pattern under the lock, unless the call is refused.
func (c *Cloud) handle(pattern string, h func(w http.ResponseWriter, r *http.Request)) {
	c.Handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for call, refused := range c.refuses {
			method, end, _ := strings.Cut(call, " ")
			if r.Method == method && strings.HasSuffix(r.URL.Path, end) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(refused.status)
				_, _ = w.Write([]byte(refused.body))
				return
			}
		}
		h(w, r)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	name := map[int]string{http.StatusBadRequest: "badRequest", http.StatusNotFound: "itemNotFound"}[status]
	answer(w, status, map[string]any{name: map[string]any{"code": status, "message": fmt.Sprintf(format, args...)}})
}

func newID() string { return uuid.NewString() }

func (c *Cloud) glance() {
	const base = openstacktest.Glance + "/images"
	c.handle("GET "+base, c.listImages)
	c.handle("POST "+base, c.createImage)
	c.handle("GET "+base+"/{id}", c.showImage)
	c.handle("DELETE "+base+"/{id}", c.removeImage)
	c.handle("GET "+base+"/{id}/file", c.download)
	c.Handle("PUT "+base+"/{id}/file", c.upload)
}

// image returns an image as Glance shows it. The hashes are computed from its data.
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

// upload reads data without holding the lock, because the data may come slowly.
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

// uploadVolume creates an image of a volume, on behalf of Cinder.
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
