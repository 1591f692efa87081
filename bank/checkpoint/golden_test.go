// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// golden is a part of a bank that the original wrote: to a directory, where no
// flag is stored, or to Swift.
type golden struct {
	Bank map[string]struct {
		Body       string `json:"body"`
		Serialized string `json:"serialized"` // "" in a directory
		Cut        bool   `json:"cut"`        // the body is only the beginning
	} `json:"bank"`
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func goldenFiles(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files %s: %v", pattern, err)
	}
	for i, path := range paths {
		paths[i] = filepath.Base(path)
	}
	return paths
}

// memory is the bank of g in memory.
func (g golden) memory() *banktest.Memory {
	m := banktest.NewMemory()
	for key, o := range g.Bank {
		flag := map[string]bank.Flag{"True": bank.JSON, "False": bank.Raw}[o.Serialized]
		m.Set(key, banktest.Stored{Body: []byte(o.Body), Serialized: flag})
	}
	return m
}

// directory is the bank of g as the original keeps it.
func (g golden) directory(t *testing.T) bank.Plugin {
	t.Helper()
	dir := t.TempDir()
	for key, o := range g.Bank {
		path := filepath.Join(dir, "karbor", key)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(o.Body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := filesystem.New(filesystem.Config{Path: dir, Container: "karbor"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// index is an index.json as plain JSON.
type index struct {
	ID         string         `json:"id"`
	Status     string         `json:"status"`
	Owner      string         `json:"owner_id"`
	Provider   string         `json:"provider_id"`
	Project    string         `json:"project_id"`
	Plan       map[string]any `json:"protection_plan"`
	ExtraInfo  any            `json:"extra_info"`
	CreatedAt  string         `json:"created_at"`
	Timestamp  int64          `json:"timestamp"`
	Graph      *string        `json:"resource_graph"`
	serialized string         // the text
}

func (g golden) index(t *testing.T) index {
	t.Helper()
	for key, o := range g.Bank {
		if strings.HasSuffix(key, "/index.json") {
			i := index{serialized: o.Body}
			if err := json.Unmarshal([]byte(o.Body), &i); err != nil {
				t.Fatal(err)
			}
			return i
		}
	}
	t.Fatal("no index.json")
	return index{}
}

// asJSON is v as a client sees it.
func asJSON(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var plain map[string]any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestBanksOfTheOriginalAreRead(t *testing.T) {
	t.Parallel()
	for _, name := range append(goldenFiles(t, "fs_*.json"), goldenFiles(t, "swift_*ed.json")...) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := readGolden(t, name)
			want := g.index(t)
			var plugin bank.Plugin = g.memory()
			if strings.HasPrefix(name, "fs_") {
				plugin = g.directory(t)
			}
			c := checkpoint.NewCollection(bank.New(plugin, nil), want.Provider, checkpoint.Options{})
			cp, err := c.Get(t.Context(), want.ID)
			if err != nil {
				t.Fatal(err)
			}
			view := map[string]any{
				"id": want.ID, "status": want.Status, "protection_plan": want.Plan, "extra_info": want.ExtraInfo,
				"project_id": want.Project, "resource_graph": *want.Graph, "created_at": want.CreatedAt,
			}
			if diff := cmp.Diff(view, asJSON(t, cp.View())); diff != "" {
				t.Errorf("show (-want +got):\n%s", diff)
			}
			if cp.OwnerID() != want.Owner || cp.Timestamp() != want.Timestamp || cp.ProviderID() != want.Provider {
				t.Errorf("owner %s, timestamp %d, provider %s", cp.OwnerID(), cp.Timestamp(), cp.ProviderID())
			}

			var listed []string
			if want.Status != "deleted" {
				listed = []string{want.ID}
			}
			for _, o := range []checkpoint.ListOptions{
				{ProjectID: want.Project},
				{AllTenants: true},
				{ProjectID: want.Project, StartDate: want.CreatedAt, EndDate: want.CreatedAt},
				{ProjectID: want.Project, PlanID: want.Plan["id"].(string)},
				{AllTenants: true, PlanID: want.Plan["id"].(string), StartDate: want.CreatedAt, EndDate: want.CreatedAt},
			} {
				if strings.Contains(name, "no_plugin") && o.PlanID == "" {
					continue // recorded without its other entries
				}
				if diff := cmp.Diff(listed, ids(t, c, o)); diff != "" {
					t.Errorf("list %+v (-want +got):\n%s", o, diff)
				}
			}
		})
	}
}

func ids(t *testing.T, c *checkpoint.Collection, o checkpoint.ListOptions) []string {
	t.Helper()
	list, err := c.List(t.Context(), o)
	if err != nil {
		t.Fatalf("list %+v: %v", o, err)
	}
	var found []string
	for _, cp := range list {
		found = append(found, cp.ID())
	}
	return found
}

// ownedBy is a bank with a given owner id.
type ownedBy struct {
	bank.Plugin
	owner string
}

func (p ownedBy) OwnerID() string { return p.owner }

// From the same input we write the same bytes under the same keys.
func TestWritesWhatTheOriginalWrites(t *testing.T) {
	t.Parallel()
	for _, name := range append(goldenFiles(t, "fs_*.json"), goldenFiles(t, "swift_*ed.json")...) {
		if strings.Contains(name, "plain_dict") || strings.Contains(name, "no_plugin") {
			// A resource without extra_info, which we store as null; entries
			// that were not recorded.
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := readGolden(t, name)
			want := g.index(t)
			old, err := checkpoint.NewCollection(bank.New(g.memory(), nil), want.Provider, checkpoint.Options{}).
				Get(t.Context(), want.ID)
			if err != nil {
				t.Fatal(err)
			}

			memory := banktest.NewMemory()
			c := checkpoint.NewCollection(bank.New(ownedBy{memory, want.Owner}, nil), want.Provider, checkpoint.Options{
				Clock: func() time.Time { return time.Unix(want.Timestamp, 999) },
				NewID: func() string { return want.ID },
			})
			cp, err := c.Create(t.Context(), checkpoint.CreateOptions{Plan: old.Plan(), ExtraInfo: old.ExtraInfo()})
			if err != nil {
				t.Fatal(err)
			}
			cp.SetResourceGraph(*want.Graph)
			end(t, cp, old.Status())

			got, expected := map[string]string{}, map[string]string{}
			for key, o := range memory.Objects() {
				got[key] = string(o.Body)
			}
			for key, o := range g.Bank {
				if !strings.Contains(key, "/resource-data/") {
					expected[key] = o.Body
				}
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("(-original +ours):\n%s", diff)
			}
		})
	}
}

// end brings a new checkpoint into its final status, the way it gets there.
func end(t *testing.T, cp *checkpoint.Checkpoint, status checkpoint.Status) {
	t.Helper()
	way := map[checkpoint.Status][]checkpoint.Status{
		checkpoint.Protecting: {checkpoint.Protecting},
		checkpoint.Available:  {checkpoint.Available},
		checkpoint.Error:      {checkpoint.Error},
		checkpoint.Deleted:    {checkpoint.Available, checkpoint.Deleting},
	}[status]
	if way == nil {
		t.Fatalf("no way to status %s", status)
	}
	for _, step := range way {
		if err := cp.SetStatus(step); err != nil {
			t.Fatal(err)
		}
		if err := cp.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if status == checkpoint.Deleted {
		if err := cp.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A checkpoint of the original, deleted by us, is as if the original had
// deleted it.
func TestDeletesAsTheOriginal(t *testing.T) {
	t.Parallel()
	for before, after := range map[string]string{
		"fs_protect.json":                     "fs_delete.json",
		"fs_protect_testplugin.json":          "fs_delete_testplugin.json",
		"swift_image_created.json":            "swift_image_deleted.json",
		"swift_image_ascii_created.json":      "swift_image_ascii_deleted.json",
		"swift_noop_project_created.json":     "swift_noop_project_deleted.json",
		"swift_volume_backup_ok_created.json": "swift_volume_backup_ok_deleted.json",
	} {
		t.Run(before, func(t *testing.T) {
			t.Parallel()
			g := readGolden(t, before)
			memory := g.memory()
			i := g.index(t)
			c := checkpoint.NewCollection(bank.New(memory, nil), i.Provider, checkpoint.Options{})
			cp, err := c.Get(t.Context(), i.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := cp.SetStatus(checkpoint.Deleting); err != nil {
				t.Fatal(err)
			}
			if err := cp.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := cp.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := readGolden(t, after).memory().Objects()
			got := memory.Objects()
			for _, objects := range []map[string]banktest.Stored{want, got} {
				maps.DeleteFunc(objects, func(key string, _ banktest.Stored) bool { return strings.Contains(key, "/resource-data/") })
			}
			// Ours are flagged in memory, those of a directory are not.
			for key, o := range got {
				if strings.HasPrefix(before, "fs_") {
					o.Serialized = bank.Unknown
					got[key] = o
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-original +ours):\n%s", diff)
			}
		})
	}
}

// The data of resources, in the forms that the original leaves behind.
func TestResourceDataOfTheOriginal(t *testing.T) {
	t.Parallel()
	g := readGolden(t, "swift_image_created.json")
	i := g.index(t)
	c := checkpoint.NewCollection(bank.New(g.memory(), nil), i.Provider, checkpoint.Options{})
	cp, err := c.Get(t.Context(), i.ID)
	if err != nil {
		t.Fatal(err)
	}
	section, err := cp.Section(cp.Plan().Resources[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := section.GetText(t.Context(), "status"); status != "error" || err != nil {
		t.Errorf("status is %q, %v", status, err)
	}
	var metadata struct {
		ImageMetadata struct {
			DiskFormat string `json:"disk_format"`
		} `json:"image_metadata"`
	}
	if err := section.GetJSON(t.Context(), "metadata", &metadata); err != nil || metadata.ImageMetadata.DiskFormat != "raw" {
		t.Errorf("metadata is %+v, %v", metadata, err)
	}
}
