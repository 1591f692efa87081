// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/resource"
)

const mib = 1 << 20

// objectSize is the default of backup_image_object_size.
const objectSize = 655360

// TestImageIntoSwiftAndBack takes 200 MiB from Glance into Swift, verifies and
// restores them, and deletes the checkpoint.
func TestImageIntoSwiftAndBack(t *testing.T) {
	t.Parallel()
	const size = 200 * mib
	const objects = size / objectSize
	s := newSite(t)
	s.useCloud()
	db := s.useMariaDB()
	s.sync()
	store := swift(t)
	container := store.container()
	p := s.swiftProvider(container, image)
	w := s.started("worker")
	u := demo(t)
	a := s.api(u.caller)
	source := u.upload(size)

	began := time.Now()
	pl := a.plan(p.id, source)
	id := a.protected(pl)
	t.Logf("protect: %s, %.0f MiB at most", time.Since(began).Round(time.Millisecond), w.memory("VmHWM"))
	checkBank(t, store, container, a, pl, id, objects)
	checkLeaseObject(t, store, container, id)

	began = time.Now()
	verification := db.addRecord("verifications", a.caller.ProjectID, pl, id)
	a.call("verification", map[string]any{"verification": a.readArgs("Verification", verification, pl, id, nil)}, nil)
	want := record{Status: "success", ResourcesStatus: jsonText(t, map[string]string{source.Key().String(): "available"}),
		ResourcesReason: jsonText(t, map[string]string{source.Key().String(): ""})}
	if diff := cmp.Diff(want, db.finished("verifications", verification)); diff != "" {
		t.Errorf("verification (-want +got):\n%s", diff)
	}
	t.Logf("verify: %s", time.Since(began).Round(time.Millisecond))

	began = time.Now()
	restored := a.restored(db, u, pl, id, "back again")
	t.Logf("restore: %s, %.0f MiB at most", time.Since(began).Round(time.Millisecond), w.memory("VmHWM"))
	checkSame(t, u, source.ID, restored.image)

	began = time.Now()
	a.delete(pl, id)
	t.Logf("delete: %s", time.Since(began).Round(time.Millisecond))
	checkDeleted(t, store, container, source, id)
	rows, _ := db.closed(id, 4)
	wantRows := []logRow{
		{Type: "delete", Status: "deleted", Started: true, Ended: true, Plan: pl.id, Provider: p.id},
		{Type: "protect", Status: "available", Started: true, Ended: true, Plan: pl.id, Provider: p.id},
		{Type: "restore", Status: "success", Started: true, Ended: true, Provider: p.id, Restore: restored.record},
		{Type: "verify", Status: "success", Started: true, Ended: true, Provider: p.id},
	}
	if diff := cmp.Diff(wantRows, rows); diff != "" {
		t.Errorf("operation_logs (-want +got):\n%s", diff)
	}

	peak := w.memory("VmHWM")
	t.Logf("the worker had %.1f MiB resident at most, %.1f MiB now", peak, w.memory("VmRSS"))
	if peak >= 150 {
		t.Errorf("the worker had %.1f MiB resident, want less than 150", peak)
	}
	w.stop()
}

func jsonText(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return strings.ReplaceAll(string(text), `":"`, `": "`)
}

// checkBank looks at every object of a fresh checkpoint.
func checkBank(t *testing.T, store *account, container string, a *api, p plan, id string, objects int) {
	t.Helper()
	root := "/checkpoints/" + id + "/"
	data := root + "resource-data/" + p.resources[0].ID + "/"
	text, header := store.get(container, root+"index.json")
	var index struct {
		Status, ID, Version, CreatedAt string
		Timestamp                      int64
		CreatedOn                      string `json:"created_at"`
		ProviderID                     string `json:"provider_id"`
		ProjectID                      string `json:"project_id"`
	}
	must(t, json.Unmarshal([]byte(text), &index))
	if index.Status != "available" || index.ID != id || index.Version != "0.9" || index.ProviderID != p.provider || index.ProjectID != a.caller.ProjectID {
		t.Errorf("index.json: %s", text)
	}
	if got := header.Get("X-Object-Meta-Serialized"); got != "True" {
		t.Errorf("index.json has serialized %q, want True", got)
	}
	entry := strconv.FormatInt(index.Timestamp, 10) + "@" + id
	want := []string{
		root + "index.json", data + "manifest", data + "metadata", data + "status",
		"/indices/by-date/" + index.CreatedOn + "/" + index.ProjectID + "/" + entry,
		"/indices/by-plan/" + p.id + "/" + index.ProjectID + "/" + index.CreatedOn + "/" + entry,
		"/indices/by-provider/" + p.provider + "/" + index.ProjectID + "/" + entry,
	}
	for n := range objects {
		want = append(want, data+"data_"+strconv.Itoa(n+1))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, store.list(container)); diff != "" {
		t.Errorf("objects of the bank (-want +got):\n%s", diff)
	}
	for name, serialized := range map[string]string{data + "manifest": "True", data + "metadata": "True", data + "status": "False", data + "data_1": "False", want[len(want)-1]: "False"} {
		if _, header := store.head(container, name); header.Get("X-Object-Meta-Serialized") != serialized {
			t.Errorf("%s has serialized %q, want %s", name, header.Get("X-Object-Meta-Serialized"), serialized)
		}
	}
	if text, _ := store.get(container, data+"status"); text != "available" {
		t.Errorf("status is %q", text)
	}
	text, _ = store.get(container, data+"metadata")
	var metadata struct {
		Chunks int `json:"chunks_num"`
	}
	must(t, json.Unmarshal([]byte(text), &metadata))
	if metadata.Chunks != objects {
		t.Errorf("chunks_num is %d, want %d", metadata.Chunks, objects)
	}
}

// checkLeaseObject finds the lease of the checkpoint's owner.
func checkLeaseObject(t *testing.T, store *account, container, id string) {
	t.Helper()
	if status, header := store.head("leases", ownerOf(t, store, container, id)); status != 200 || header.Get("X-Delete-At") == "" {
		t.Errorf("the lease of the owner: status %d, X-Delete-At %q", status, header.Get("X-Delete-At"))
	}
}

func ownerOf(t testing.TB, store *account, container, checkpoint string) string {
	t.Helper()
	text, _ := store.get(container, "/checkpoints/"+checkpoint+"/index.json")
	var index struct {
		OwnerID string `json:"owner_id"`
	}
	must(t, json.Unmarshal([]byte(text), &index))
	return index.OwnerID
}

// checkDeleted finds nothing of a checkpoint but what tells that it was there.
func checkDeleted(t *testing.T, store *account, container string, source resource.Resource, id string) {
	t.Helper()
	root := "/checkpoints/" + id + "/"
	want := []string{root + "index.json", root + "resource-data/" + source.ID + "/status"}
	// A listing may be a moment behind the objects.
	await(t, "an empty bank", func() (bool, any) {
		diff := cmp.Diff(want, store.list(container))
		return diff == "", diff
	})
	if text, _ := store.get(container, want[0]); !strings.Contains(text, `"status": "deleted"`) {
		t.Errorf("index.json: %s", text)
	}
	if text, _ := store.get(container, want[1]); text != "deleted" {
		t.Errorf("status is %q", text)
	}
}

// restoration is what a restore has made.
type restoration struct{ record, image string }

// restored restores a checkpoint of one image and returns what came of it.
func (a *api) restored(db *tables, u *user, p plan, checkpoint, name string) restoration {
	a.t.Helper()
	id := db.addRecord("restores", a.caller.ProjectID, p, checkpoint)
	args := a.readArgs("Restore", id, p, checkpoint, map[string]any{resource.Image: map[string]any{"restore_name": name}})
	a.call("restore", map[string]any{"restore": args, "restore_auth": nil}, nil)
	r := db.finished("restores", id)
	var status map[string]string
	must(a.t, json.Unmarshal([]byte(r.ResourcesStatus), &status))
	if len(status) != 1 || r.Status != "success" {
		a.t.Fatalf("restore: %+v", r)
	}
	for key, value := range status {
		imageID, ok := strings.CutPrefix(key, resource.Image+"#")
		if !ok || value != "available" {
			a.t.Fatalf("resources_status: %s", r.ResourcesStatus)
		}
		u.t.Cleanup(func() { u.removeImage(imageID) })
		if got := u.image(imageID).Name; got != name {
			a.t.Errorf("the restored image is called %q, want %q", got, name)
		}
		return restoration{record: id, image: imageID}
	}
	return restoration{}
}

// checkSame compares an image with the one that was made of it.
func checkSame(t *testing.T, u *user, original, restored string) {
	t.Helper()
	want, got := u.image(original), u.image(restored)
	want.ID, want.Name = got.ID, got.Name
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the restored image (-original +restored):\n%s", diff)
	}
}
