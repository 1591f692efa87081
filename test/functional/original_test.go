// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
)

// What the Python service recorded of itself: the ids in testdata/original.
const (
	originalProject  = "6db370e763ac4027a01322ae5c313c73"
	originalDay      = "2026-11-22"
	originalVolume   = "39bf1b00-ebb7-4ffb-9069-021fda85d377"
	originalBackup   = "e1e1d821-4393-42c5-a6d8-a2f38d5722e5"
	originalSnapshot = "b6a5a1c8-7f43-4c40-9d0e-3a1f54cf7e33"

	noopProvider     = "50000000-0000-4000-8000-000000000001"
	infraProvider    = "50000000-0000-4000-8000-000000000002"
	glanceProvider   = "50000000-0000-4000-8000-000000000004"
	snapshotProvider = "50000000-0000-4000-8000-000000000005"
)

// originals are the recorded checkpoints in the order of their creation, what the
// cloud has to hold for them, and what becomes of them here.
var originals = []struct {
	name string
	// arrange puts what the checkpoint is about into the cloud.
	arrange func(c *storage.Cloud)
	// ours is the outcome of verification and restore where it is not the
	// original's, with the reason.
	ours, why string
	// restored looks at what a restore has made under the name of the request.
	restored func(t *testing.T, c *storage.Cloud, id string)
	// gone reports whether the cloud has nothing of the checkpoint any more.
	gone func(c *storage.Cloud) bool
}{
	{name: "noop_project", ours: "success", why: "there is nothing that a verification could find wrong"},
	// Of a worker that died; the original refuses to delete it for ever.
	{name: "volume_backup"},
	{name: "image"},
	{
		name: "volume_glance", ours: "success", why: "status is text there, not bytes",
		restored: func(t *testing.T, c *storage.Cloud, id string) {
			t.Helper()
			if v := c.Find(storage.Volumes, id); v == nil || string(v.Data) != strings.Repeat("\x00", 3<<16) || v.Size != 1 || v.Name != "back" {
				t.Errorf("restored %+v", v)
			}
			if left := c.Things(storage.Images); slices.ContainsFunc(left, func(i *storage.Thing) bool { return strings.HasPrefix(i.Name, "temporary") }) {
				t.Errorf("images are left: %+v", left)
			}
		},
	},
	{
		name: "volume_backup_ok",
		arrange: func(c *storage.Cloud) {
			c.Add(storage.Backups, &storage.Thing{ID: originalBackup, Name: "refbackup", Status: "available", Size: 1, VolumeID: originalVolume, Data: []byte("backed up")})
		},
		restored: func(t *testing.T, c *storage.Cloud, id string) {
			t.Helper()
			if v := c.Find(storage.Volumes, id); v == nil || string(v.Data) != "backed up" || v.Name != "restored-ref" || v.Description != "rd" {
				t.Errorf("restored %+v", v)
			}
		},
		gone: func(c *storage.Cloud) bool { return c.Find(storage.Backups, originalBackup) == nil },
	},
	{
		name: "image_ascii", ours: "success", why: "status and data are text there, not bytes",
		restored: func(t *testing.T, c *storage.Cloud, id string) {
			t.Helper()
			i := c.Find(storage.Images, id)
			if i == nil || i.Name != "restored-img" || len(i.Data) != 300000 || fmt.Sprintf("%x", md5.Sum(i.Data)) != "9129e53a543e07ab7351e1df6389607a" {
				t.Errorf("restored %+v", i)
			}
		},
	},
	{
		name: "volume_snapshot", ours: "success", why: "it was not recorded",
		arrange: func(c *storage.Cloud) {
			c.Add(storage.Snapshots, &storage.Thing{ID: originalSnapshot, Status: "available", Size: 1, VolumeID: originalVolume, Data: []byte("as it was")})
		},
		restored: func(t *testing.T, c *storage.Cloud, id string) {
			t.Helper()
			if v := c.Find(storage.Volumes, id); v == nil || string(v.Data) != "as it was" || v.Size != 1 || v.Name != "back" {
				t.Errorf("restored %+v", v)
			}
		},
		gone: func(c *storage.Cloud) bool { return c.Find(storage.Snapshots, originalSnapshot) == nil },
	},
}

// TestCheckpointsOfTheOriginal has a bank as the Python service left it, in a
// folder and in Swift, and goes through everything that its users can ask for.
func TestCheckpointsOfTheOriginal(t *testing.T) {
	t.Parallel()
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		folder := folderShelf{t, t.TempDir()}
		outliveTheOriginal(t, folder, "karbor-fs-bank-plugin", ini{"file_system_bank_plugin": {"file_system_bank_path": folder.path}})
	})
	t.Run("Swift", func(t *testing.T) {
		t.Parallel()
		store := swift(t)
		container := store.container()
		if status, _, _ := store.request("PUT", "/"+container, nil, nil); status != 201 {
			t.Fatalf("make a container: status %d", status)
		}
		outliveTheOriginal(t, swiftShelf{store, container}, "karbor-swift-bank-plugin", swiftBank(container))
	})
}

func outliveTheOriginal(t *testing.T, bank shelf, bankPlugin string, bankOptions ini) {
	t.Helper()
	s := newSite(t)
	db := s.useMariaDB()
	s.sync()
	s.conf.set("DEFAULT", "janitor_interval", "0") // who asks for what is seen without it
	cloud := s.useFakeCloud(originalProject)
	for provider, plugins := range map[string][]string{
		noopProvider:     {noop},
		infraProvider:    {"karbor-volume-protection-plugin", image},
		glanceProvider:   {"karbor-volume-glance-plugin"},
		snapshotProvider: {"karbor-volume-snapshot-plugin"},
	} {
		s.writeOriginalProvider(provider, bankPlugin, bankOptions, plugins)
	}
	checkpoints := map[string]*originalCheckpoint{}
	for _, one := range originals {
		o := readOriginal(t, one.name)
		checkpoints[one.name] = o
		for key, object := range o.Bank {
			bank.put(key, object.content(), object.Serialized)
		}
		if one.arrange != nil {
			one.arrange(cloud)
		}
	}
	s.started("worker")
	a := s.api(owner(originalProject))
	listOriginals(t, a, checkpoints)
	for _, one := range originals {
		o := checkpoints[one.name]
		pl := plan{id: o.plan, provider: o.provider, resources: []resource.Resource{o.resource}}
		var shown json.RawMessage
		a.call("show_checkpoint", map[string]any{"provider_id": o.provider, "checkpoint_id": o.id}, &shown)
		if diff := cmp.Diff(plain(t, o.Show), plain(t, shown)); diff != "" {
			t.Errorf("%s: show_checkpoint (-original +ours):\n%s", one.name, diff)
		}
		if o.status != "available" {
			for method, args := range map[string]map[string]any{
				"verification": {"verification": a.readArgs("Verification", db.addRecord("verifications", originalProject, pl, o.id), pl, o.id, nil)},
				"restore":      {"restore": a.readArgs("Restore", db.addRecord("restores", originalProject, pl, o.id), pl, o.id, o.Restore.Parameters), "restore_auth": nil},
			} {
				a.refused(o.Restore.Refused, method, args)
			}
		} else {
			verified := a.verifyOriginal(db, pl, o)
			restored, id := a.restoreOriginal(db, pl, o)
			if one.why != "" {
				t.Logf("%s: not as the original: %s", one.name, one.why)
				o.Verification.Status, o.Restore.Status = one.ours, one.ours
			}
			if verified.Status != o.Verification.Status || restored.Status != o.Restore.Status {
				t.Errorf("%s: verification %+v, restore %+v; want %s and %s", one.name, verified, restored, o.Verification.Status, o.Restore.Status)
			}
			if one.why == "" {
				compareRecords(t, one.name, o, id, verified, restored)
			}
			if one.restored != nil {
				one.restored(t, cloud, id)
			}
		}
		if _, isSwift := bank.(swiftShelf); !isSwift && o.Delete.Refused != "" {
			a.refused(o.Delete.Refused, "delete", map[string]any{"provider_id": o.provider, "checkpoint_id": o.id})
			continue // its owner may live: a folder has no leases
		}
		a.delete(pl, o.id)
		if one.gone != nil && !one.gone(cloud) {
			t.Errorf("%s: its backup is left", one.name)
		}
		if o.Delete.Refused == "" {
			compareLeft(t, one.name, o, bank)
		}
	}
}

// listOriginals finds the checkpoints in all the ways in which one looks for them.
func listOriginals(t *testing.T, a *api, checkpoints map[string]*originalCheckpoint) {
	t.Helper()
	list := func(provider string, filters map[string]any, sortDirs []string) []string {
		t.Helper()
		var found []checkpointView
		a.call("list_checkpoints", map[string]any{"provider_id": provider, "filters": filters, "sort_keys": []string{"created_at"}, "sort_dirs": sortDirs}, &found)
		ids := []string{}
		for _, c := range found {
			ids = append(ids, c.ID)
		}
		return ids
	}
	byProvider := map[string][]string{}
	for _, one := range originals {
		o := checkpoints[one.name]
		byProvider[o.provider] = append(byProvider[o.provider], o.id)
		for _, filters := range []map[string]any{{"plan_id": o.plan}, {"plan_id": o.plan, "start_date": originalDay, "end_date": originalDay}} {
			if diff := cmp.Diff([]string{o.id}, list(o.provider, filters, nil)); diff != "" {
				t.Errorf("%s: list by %v (-want +got):\n%s", one.name, filters, diff)
			}
		}
	}
	for provider, ids := range byProvider {
		newest := slices.Clone(ids)
		slices.Reverse(newest)
		for _, filters := range []map[string]any{{}, {"start_date": originalDay, "end_date": originalDay}} {
			if diff := cmp.Diff(ids, list(provider, filters, []string{"asc"})); diff != "" {
				t.Errorf("list %v (-want +got):\n%s", filters, diff)
			}
			if diff := cmp.Diff(newest, list(provider, filters, []string{"desc"})); diff != "" {
				t.Errorf("list %v, the newest first (-want +got):\n%s", filters, diff)
			}
		}
		if found := list(provider, map[string]any{"start_date": "2026-11-20", "end_date": "2026-11-21"}, nil); len(found) != 0 {
			t.Errorf("there are checkpoints of earlier days: %v", found)
		}
	}
}

func (a *api) verifyOriginal(db *tables, p plan, o *originalCheckpoint) record {
	a.t.Helper()
	id := db.addRecord("verifications", originalProject, p, o.id)
	a.call("verification", map[string]any{"verification": a.readArgs("Verification", id, p, o.id, nil)}, nil)
	return db.finished("verifications", id)
}

// restoreOriginal asks for what was asked for in the recording, and returns the
// id of what was made as well.
func (a *api) restoreOriginal(db *tables, p plan, o *originalCheckpoint) (record, string) {
	a.t.Helper()
	parameters := o.Restore.Parameters
	if o.Built {
		parameters = map[string]any{o.resource.Type: map[string]any{"restore_name": "back"}}
	}
	id := db.addRecord("restores", originalProject, p, o.id)
	a.call("restore", map[string]any{"restore": a.readArgs("Restore", id, p, o.id, parameters), "restore_auth": nil}, nil)
	r := db.finished("restores", id)
	made := map[string]string{}
	if r.ResourcesStatus != "" {
		must(a.t, json.Unmarshal([]byte(r.ResourcesStatus), &made))
	}
	for key, status := range made {
		if _, id, ok := strings.Cut(key, "#"); ok && status == "available" {
			return r, id
		}
	}
	return r, ""
}

// compareRecords compares texts of the tables. The original's restore made a thing
// of another id.
func compareRecords(t *testing.T, name string, o *originalCheckpoint, id string, verified, restored record) {
	t.Helper()
	made := map[string]string{}
	must(t, json.Unmarshal([]byte(o.Restore.ResourcesStatus), &made))
	ours := func(text string) string {
		for key := range made {
			text = strings.ReplaceAll(text, key, o.resource.Type+"#"+id)
		}
		return text
	}
	want := []record{
		{o.Verification.Status, o.Verification.ResourcesStatus, o.Verification.ResourcesReason},
		{o.Restore.Status, ours(o.Restore.ResourcesStatus), ours(o.Restore.ResourcesReason)},
	}
	if diff := cmp.Diff(want, []record{verified, restored}); diff != "" {
		t.Errorf("%s: verification and restore (-original +ours):\n%s", name, diff)
	}
}

// compareLeft compares what is in the bank after a delete.
func compareLeft(t *testing.T, name string, o *originalCheckpoint, bank shelf) {
	t.Helper()
	want := map[string]string{}
	for key, object := range o.Left {
		want[key] = object.content()
	}
	if o.Left == nil { // not recorded: what the original leaves of every checkpoint
		root := "/checkpoints/" + o.id + "/"
		want[root+"index.json"] = strings.Replace(o.Bank[root+"index.json"].Body, `"status": "available"`, `"status": "deleted"`, 1)
		want[root+"resource-data/"+o.resource.ID+"/status"] = "deleted"
	}
	// A listing may be a moment behind the objects.
	await(t, name+": the bank as the original leaves it", func() (bool, any) {
		got := map[string]string{}
		for key, body := range bank.objects() {
			if strings.Contains(key, o.id) {
				got[key] = string(body)
			}
		}
		diff := cmp.Diff(want, got)
		return diff == "", diff
	})
}

// plain is JSON as its reader sees it.
func plain(t *testing.T, text json.RawMessage) any {
	t.Helper()
	var v any
	must(t, json.Unmarshal(text, &v))
	return v
}
