// SPDX-License-Identifier: Apache-2.0

package image

import (
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// fakeGlance is as much of Glance as the plugin uses.
type fakeGlance struct {
	*openstacktest.Cloud
	mu     sync.Mutex
	images map[string]map[string]any
	data   map[string][]byte
	gone   map[string]bool // ids that no image gets again
	// late, by method, is what another's request does that arrives just before the next one.
	late map[string]func()
	// afterUpload may change what was stored.
	afterUpload func(image map[string]any)
}

func newGlance(t testing.TB) *fakeGlance {
	t.Helper()
	g := &fakeGlance{Cloud: openstacktest.New(t), images: map[string]map[string]any{}, data: map[string][]byte{}, gone: map[string]bool{}, late: map[string]func(){}}
	const base = openstacktest.Glance + "/images"
	g.Handle("GET "+base, g.list)
	g.Handle("POST "+base, g.create)
	g.Handle("GET "+base+"/{id}", g.show)
	g.Handle("DELETE "+base+"/{id}", g.remove)
	g.Handle("GET "+base+"/{id}/file", g.download)
	g.Handle("PUT "+base+"/{id}/file", g.upload)
	return g
}

// add makes an active image with data.
func (g *fakeGlance) add(id string, data []byte) map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	image := map[string]any{"id": id, "name": "tiny", "disk_format": "raw", "container_format": "bare"}
	g.images[id], g.data[id] = image, data
	activate(image, data)
	return image
}

func activate(image map[string]any, data []byte) {
	sum, hash := md5.Sum(data), sha512.Sum512(data)
	image["status"], image["checksum"] = "active", hex.EncodeToString(sum[:])
	image["os_hash_algo"], image["os_hash_value"] = "sha512", hex.EncodeToString(hash[:])
}

func (g *fakeGlance) ids() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := []string{}
	for id := range g.images {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (g *fakeGlance) list(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	found := []map[string]any{}
	for _, image := range g.images {
		matches := true
		for name, values := range r.URL.Query() {
			matches = matches && image[name] == values[0]
		}
		if matches {
			found = append(found, image)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"images": found})
}

// arrive lets another's request come first. It is called with the lock.
func (g *fakeGlance) arrive(method string) {
	if request := g.late[method]; request != nil {
		delete(g.late, method)
		request()
	}
}

func (g *fakeGlance) create(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.arrive(r.Method)
	image := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&image)
	image["status"], image["checksum"] = "queued", nil
	id := image["id"].(string)
	if g.images[id] != nil || g.gone[id] {
		w.WriteHeader(http.StatusConflict)
		return
	}
	g.images[id] = image
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(image)
}

func (g *fakeGlance) find(w http.ResponseWriter, r *http.Request) map[string]any {
	image, ok := g.images[r.PathValue("id")]
	if !ok {
		http.Error(w, "<html><body><h1>404 Not Found</h1>No image found with ID x<br /></body></html>", http.StatusNotFound)
		return nil
	}
	return image
}

func (g *fakeGlance) show(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if image := g.find(w, r); image != nil {
		_ = json.NewEncoder(w).Encode(image)
	}
}

func (g *fakeGlance) remove(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if image := g.find(w, r); image != nil {
		delete(g.images, r.PathValue("id"))
		g.gone[r.PathValue("id")] = true
		w.WriteHeader(http.StatusNoContent)
	}
}

func (g *fakeGlance) download(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	image, data := g.find(w, r), g.data[r.PathValue("id")]
	g.mu.Unlock()
	switch {
	case image == nil:
	case len(data) == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		_, _ = w.Write(data)
	}
}

func (g *fakeGlance) upload(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.arrive(r.Method)
	image := g.find(w, r)
	if image == nil || err != nil { // a broken upload leaves the image queued
		return
	}
	if image["status"] != "queued" {
		http.Error(w, fmt.Sprintf("Image status transition from %s to saving is not allowed", image["status"]), http.StatusConflict)
		return
	}
	g.data[r.PathValue("id")] = data
	activate(image, data)
	if g.afterUpload != nil {
		g.afterUpload(image)
	}
	w.WriteHeader(http.StatusNoContent)
}
