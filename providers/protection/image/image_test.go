// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var tiny = resource.Resource{Type: resource.Image, ID: "9e1dc2dd-753b-48d9-8166-d94cca1de5a4", Name: "tiny"}

const newID = "0e0f0c0a-0000-4000-8000-00000000000a"

func plugin(g *fakeGlance, objectSize int) *Plugin {
	p := New(Config{Config: poll.Config{PollInterval: time.Millisecond}, ObjectSize: objectSize, ServerSnapshot: true}, g.Factory)
	p.newID = func() string { return newID }
	return p
}

func noise(n int) []byte {
	data := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(data)
	return data
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugin(newGlance(t), pieceSize))
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ size, objects int }{
		"nothing":        {0, 0},
		"one byte":       {1, 1},
		"exact multiple": {4 * pieceSize, 4},
		"a tail":         {9*pieceSize + 17, 10},
		"many":           {33 * pieceSize, 33},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			data := noise(tc.size)
			image := g.add(tiny.ID, data)
			p, ctx := plugin(g, pieceSize), openstacktest.Context(t)

			if err := h.Run(ctx, p, protection.Protect, h.Call(tiny, "backup_name", "b")); err != nil {
				t.Fatal(err)
			}
			if got := h.Text(tiny, "status"); got != "available" {
				t.Errorf("status is %s", got)
			}
			want := fmt.Sprintf(`{"resource_id": %q, "image_metadata": {"disk_format": "raw", "container_format": "bare", "checksum": %q}, "chunks_num": %d}`,
				tiny.ID, image["checksum"], tc.objects)
			if got := h.Text(tiny, "metadata"); got != want {
				t.Errorf("metadata is\n%s, not\n%s", got, want)
			}
			if keys := h.Keys(tiny); len(keys) != tc.objects+3 { // manifest, metadata, status
				t.Errorf("the section holds %v", keys)
			}
			if tc.size > 0 && !bytes.HasPrefix(data, []byte(h.Text(tiny, "data_1"))) {
				t.Error("data_1 is not the raw beginning")
			}

			if err := h.Run(ctx, p, protection.Verify, h.Call(tiny)); err != nil {
				t.Error(err)
			}
			if err := h.Run(ctx, p, protection.Restore, h.Call(tiny, "restore_name", "back")); err != nil {
				t.Fatal(err)
			}
			if restored, _ := h.NewResources.Get(tiny.ID); restored != newID {
				t.Errorf("new resource is %q", restored)
			}
			if !bytes.Equal(g.data[newID], data) || g.images[newID]["name"] != "back" || g.images[newID]["disk_format"] != "raw" {
				t.Errorf("the restored image differs: %v", g.images[newID])
			}
			records := []plugintest.Record{
				{Type: tiny.Type, ID: tiny.ID, Status: "available"},
				{Type: tiny.Type, ID: newID, Status: "restoring"},
				{Type: tiny.Type, ID: newID, Status: "available"},
			}
			if diff := cmp.Diff(records, h.Status.Records()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}

			if err := h.Run(ctx, p, protection.Delete, h.Call(tiny)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"status"}, h.Keys(tiny)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	g.add(tiny.ID, noise(10*pieceSize))["size"] = 10 * pieceSize
	p, ctx := plugin(g, pieceSize), openstacktest.Context(t)
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore} {
		var told []int
		c := h.Call(tiny)
		c.Progress = func(percent int) { told = append(told, percent) }
		must(t, h.Run(ctx, p, kind, c))
		if fmt.Sprint(told) != "[10 20 30 40 50 60 70 80 90 100]" {
			t.Errorf("%s: told %v", kind, told)
		}
	}
}

func TestProtectFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange func(g *fakeGlance, h *plugintest.Harness)
		reason  string
	}{
		"no image":     {func(g *fakeGlance, _ *plugintest.Harness) { delete(g.images, tiny.ID) }, "The status of image is invalid."},
		"killed":       {func(g *fakeGlance, _ *plugintest.Harness) { g.images[tiny.ID]["status"] = "killed" }, "The status of image is invalid."},
		"unexpected":   {func(g *fakeGlance, _ *plugintest.Harness) { g.images[tiny.ID]["status"] = "new" }, "The status of image is invalid."},
		"rotten":       {func(g *fakeGlance, _ *plugintest.Harness) { g.data[tiny.ID][7]++ }, "Corrupt image download. Hash was "},
		"wrong sha512": {func(g *fakeGlance, _ *plugintest.Harness) { g.images[tiny.ID]["os_hash_value"] = "00" }, "Corrupt image download. Hash was "},
		"bank is away": {func(_ *fakeGlance, h *plugintest.Harness) {
			h.Faults.Queue(banktest.Put, banktest.Fault{}, banktest.Fault{}, banktest.Fault{}, banktest.Fault{Err: errors.New("full")})
		}, "Update Object "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			g.add(tiny.ID, noise(20*pieceSize))
			tc.arrange(g, h)
			err := h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Protect, h.Call(tiny))
			if !fault.Is(err, "CreateResourceFailed") || !strings.HasPrefix(err.Error(), "Create Image Backup failed: "+tc.reason) {
				t.Errorf("got %v", err)
			}
			if got := h.Text(tiny, "status"); got != "error" {
				t.Errorf("status is %s", got)
			}
		})
	}
}

func TestProtectIsCancelled(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	withServer(g, "ACTIVE")
	ctx, cancel := context.WithCancelCause(openstacktest.Context(t))
	stopping := errors.New("stopping")
	// status, metadata, then the first data object
	h.Faults.Queue(banktest.Put, banktest.Fault{}, banktest.Fault{}, banktest.Fault{Before: func(context.Context, string) { cancel(stopping) }})
	err := h.Run(ctx, plugin(g, pieceSize), protection.Protect, h.Call(ofServer(`{"server_id": "s1"}`)))
	if !errors.Is(err, stopping) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := h.Text(tiny, "status"); got != "error" {
		t.Errorf("status is %s", got)
	}
	if len(g.ids()) != 0 {
		t.Errorf("%v were left behind", g.ids())
	}
}

func TestRestoreIsCancelled(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	g.add(tiny.ID, noise(5*pieceSize))
	p := plugin(g, pieceSize)
	must(t, h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(tiny)))
	ctx, cancel := context.WithCancelCause(openstacktest.Context(t))
	// metadata, then the first data object
	h.Faults.Queue(banktest.Get, banktest.Fault{}, banktest.Fault{Before: func(context.Context, string) { cancel(errors.New("stopping")) }})
	if err := h.Run(ctx, p, protection.Restore, h.Call(tiny)); !fault.Is(err, "RestoreResourceFailed") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{tiny.ID}, g.ids()); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

func TestProtectWaitsForTheImage(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	data := noise(100)
	g.data[tiny.ID] = data
	g.Sequence("GET "+openstacktest.Glance+"/images/"+tiny.ID, `{"status": "queued"}`, `{"status": "importing"}`, `{"status": "active"}`, `{"id": "`+tiny.ID+`", "status": "active"}`)
	g.images[tiny.ID] = map[string]any{}
	if err := h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Protect, h.Call(tiny)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"resource_id": %q, "image_metadata": {"disk_format": null, "container_format": null, "checksum": null}, "chunks_num": 1}`, tiny.ID)
	if got := h.Text(tiny, "metadata"); got != want {
		t.Errorf("metadata is %s", got)
	}
}

func TestProtectAgainDropsWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	p, ctx := plugin(g, pieceSize), openstacktest.Context(t)
	for _, objects := range []int{5, 2} {
		g.add(tiny.ID, noise(objects*pieceSize))
		must(t, h.State.Save(ctx, nil)) // the first run did not live to note that it was done
		if err := h.Run(ctx, p, protection.Protect, h.Call(tiny)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"data_1", "data_2", "manifest", "metadata", "status"}, h.Keys(tiny)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRestoreFails(t *testing.T) {
	t.Parallel()
	section := func(h *plugintest.Harness) *bank.Section { return h.Call(tiny).Section }
	for name, tc := range map[string]struct {
		arrange  func(t *testing.T, g *fakeGlance, h *plugintest.Harness)
		reason   string
		recorded string // id of the last record
	}{
		"no metadata": {func(t *testing.T, _ *fakeGlance, h *plugintest.Harness) {
			must(t, section(h).Delete(t.Context(), "metadata"))
		}, "Get Object ", tiny.ID},
		"missing object": {func(t *testing.T, _ *fakeGlance, h *plugintest.Harness) {
			must(t, section(h).Delete(t.Context(), "data_2"))
		}, "The chunks num of restored image is invalid", newID},
		"other object": {func(t *testing.T, _ *fakeGlance, h *plugintest.Harness) {
			must(t, section(h).Delete(t.Context(), "data_2"))
			must(t, section(h).PutText(t.Context(), "data_7", "x"))
		}, "The chunks num of restored image is invalid", newID},
		"changed object": {func(t *testing.T, _ *fakeGlance, h *plugintest.Harness) {
			must(t, section(h).PutText(t.Context(), "data_2", "x"))
		}, "The checksum of restored image is invalid", newID},
		"glance stores something else": {func(_ *testing.T, g *fakeGlance, _ *plugintest.Harness) {
			g.afterUpload = func(image map[string]any) { image["checksum"] = "00" }
		}, "The checksum of restored image is invalid", newID},
		"glance kills it": {func(_ *testing.T, g *fakeGlance, _ *plugintest.Harness) {
			g.afterUpload = func(image map[string]any) { image["status"] = "killed" }
		}, "the status is killed", newID},
		"glance refuses": {func(_ *testing.T, g *fakeGlance, _ *plugintest.Harness) {
			g.Answer("PUT "+openstacktest.Glance+"/images/"+newID+"/file", 413, `{"message": "too large"}`)
		}, "too large (HTTP 413)", newID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			g.add(tiny.ID, noise(3*pieceSize))
			p, ctx := plugin(g, pieceSize), openstacktest.Context(t)
			if err := h.Run(ctx, p, protection.Protect, h.Call(tiny)); err != nil {
				t.Fatal(err)
			}
			tc.arrange(t, g, h)
			err := h.Run(ctx, p, protection.Restore, h.Call(tiny))
			if !fault.Is(err, "RestoreResourceFailed") || !strings.HasPrefix(err.Error(), "Restore Image Backup failed: "+tc.reason) {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff([]string{tiny.ID}, g.ids()); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
			records := h.Status.Records()
			if last := records[len(records)-1]; last.Status != "error" || last.ID != tc.recorded || !strings.HasPrefix(last.Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
			if _, ok := h.NewResources.Get(tiny.ID); ok {
				t.Error("a new resource is noted")
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRestoreAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		earlier func(g *fakeGlance, data []byte)
		want    string
		uploads int
	}{
		"whole":     {func(g *fakeGlance, data []byte) { g.add("earlier", data) }, "earlier", 0},
		"unlike":    {func(g *fakeGlance, _ []byte) { g.add("earlier", []byte("x")) }, newID, 1},
		"queued":    {func(g *fakeGlance, _ []byte) { g.add("earlier", nil)["status"] = "queued" }, "earlier", 1},
		"saving":    {func(g *fakeGlance, _ []byte) { g.add("earlier", nil)["status"] = "saving" }, newID, 1},
		"not there": {func(*fakeGlance, []byte) {}, "earlier", 1},
		"deleted":   {func(g *fakeGlance, _ []byte) { g.gone["earlier"] = true }, newID, 1},
		"filled by a late request": {func(g *fakeGlance, _ []byte) {
			image := g.add("earlier", nil)
			image["status"] = "queued"
			g.late["PUT"] = func() { image["status"] = "saving" }
		}, newID, 2},
		"made by a late request": {func(g *fakeGlance, _ []byte) {
			g.late["POST"] = func() { g.images["earlier"] = map[string]any{"id": "earlier", "status": "queued"} }
		}, newID, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			data := noise(100)
			g.add(tiny.ID, data)
			p, ctx := plugin(g, pieceSize), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(tiny)))
			must(t, h.State.Save(ctx, json.RawMessage(`{"image_id": "earlier"}`)))
			tc.earlier(g, data)
			must(t, h.Run(ctx, p, protection.Restore, h.Call(tiny)))
			if got, _ := h.NewResources.Get(tiny.ID); got != tc.want {
				t.Errorf("new resource is %s", got)
			}
			if len(g.ids()) != 2 || len(g.Calls("PUT ")) != tc.uploads {
				t.Errorf("images %v, %d uploads", g.ids(), len(g.Calls("PUT ")))
			}
		})
	}
}

// Objects of the original under Python 3 that happen to be text are JSON
// strings, and an image of a whole number of objects has an empty one more.
func TestRestoreOfWhatPythonStored(t *testing.T) {
	t.Parallel()
	const head, tail = "plain text, \u00e4 line\n", "and the rest"
	for name, objects := range map[string]map[string]banktest.Stored{
		"python 2": {
			"data_1": {Body: []byte(head), Serialized: bank.Raw}, "data_2": {Body: []byte(tail), Serialized: bank.Raw},
		},
		"python 3": {
			"data_1": {Body: []byte(`"plain text, \u00e4 line\n"`), Serialized: bank.JSON},
			"data_2": {Body: []byte(`"and the rest"`), Serialized: bank.JSON}, "data_3": {Body: []byte(`""`), Serialized: bank.JSON},
		},
		"python 3, in a folder": { // which keeps no flags
			"data_1": {Body: []byte(`"plain text, \u00e4 line\n"`)}, "data_2": {Body: []byte(`"and the rest"`)}, "data_3": {Body: []byte(`""`)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			source := g.add("source", []byte(head+tail))
			path := h.Call(tiny).Section.Path()
			for key, object := range objects {
				h.Memory.Set(path+key, object)
			}
			h.Memory.Set(path+"metadata", banktest.Stored{Serialized: bank.JSON, Body: fmt.Appendf(nil,
				`{"resource_id": %q, "chunks_num": "%d", "image_metadata": {"checksum": %q, "disk_format": "raw", "container_format": "bare"}}`,
				tiny.ID, len(objects), source["checksum"])})
			h.Memory.Set(path+"status", banktest.Stored{Body: []byte("available"), Serialized: bank.Raw})
			must(t, h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Verify, h.Call(tiny)))
			must(t, h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Restore, h.Call(tiny)))
			if got := string(g.data[newID]); got != head+tail {
				t.Errorf("restored %q", got)
			}
		})
	}
}

// An image whose content looks like a JSON string is one all the same.
func TestRestoreOfAnImageThatIsAString(t *testing.T) {
	t.Parallel()
	const text = `"not what it looks like"`
	g, h := newGlance(t), plugintest.New(t)
	source := g.add("source", []byte(text))
	path := h.Call(tiny).Section.Path()
	h.Memory.Set(path+"data_1", banktest.Stored{Body: []byte(text)})
	h.Memory.Set(path+"metadata", banktest.Stored{Body: fmt.Appendf(nil,
		`{"resource_id": %q, "chunks_num": 1, "image_metadata": {"checksum": %q, "disk_format": "raw", "container_format": "bare"}}`, tiny.ID, source["checksum"])})
	must(t, h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Restore, h.Call(tiny)))
	if got := string(g.data[newID]); got != text {
		t.Errorf("restored %q", got)
	}
}

func TestVerifyLooksAtTheData(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, s *bank.Section)
		text  string
	}{
		"missing": {func(t *testing.T, s *bank.Section) { must(t, s.Delete(t.Context(), "data_2")) },
			"The chunks num of restored image is invalid: data_2 is missing."},
		"other data": {func(t *testing.T, s *bank.Section) { must(t, s.PutBytes(t.Context(), "data_2", noise(pieceSize))) },
			"The data in the bank is not what was written: data_2 has SHA-256 "},
		"other data, by the original": {func(t *testing.T, s *bank.Section) {
			must(t, s.Delete(t.Context(), imagedata.ManifestKey))
			must(t, s.PutBytes(t.Context(), "data_2", noise(pieceSize)))
		}, "The checksum of restored image is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			g.add(tiny.ID, noise(3*pieceSize))
			p, ctx := plugin(g, pieceSize), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(tiny)))
			tc.spoil(t, h.Call(tiny).Section)
			err := h.Run(ctx, p, protection.Verify, h.Call(tiny))
			if !fault.Is(err, "VerifyResourceFailed") || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v", err)
			}
			if got := h.Status.Records(); len(got) != 1 || got[0].Status != "error" || !strings.HasPrefix(got[0].Reason, tc.text) {
				t.Errorf("recorded %v", got)
			}
		})
	}
}

func TestDeleteOfBrokenMetadata(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	c := h.Call(tiny)
	must(t, c.Section.PutText(t.Context(), "metadata", "{"))
	must(t, c.Section.PutText(t.Context(), "data_1", "x"))
	must(t, h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Delete, c))
	if diff := cmp.Diff([]string{"status"}, h.Keys(tiny)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestObjectSizeIsChecked(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, -65536, 65535, 65537} {
		_, err := New(Config{ObjectSize: size}, openstacktest.New(t).Factory).Operation(protection.Protect, tiny)
		if !fault.Is(err, "InvalidParameterValue") || err.Error() != "The value of CONF.backup_image_object_size is invalid!" {
			t.Errorf("%d: %v", size, err)
		}
	}
}

func TestSchemasOfTheOriginal(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/schemas.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	s := New(Config{}, openstacktest.New(t).Factory).Schemas(resource.Image)
	for name, got := range map[string]json.RawMessage{"OPTIONS_SCHEMA": s.Options, "RESTORE_SCHEMA": s.Restore, "SAVED_INFO_SCHEMA": s.SavedInfo, "VERIFY_SCHEMA": s.Verify} {
		if diff := cmp.Diff(value(t, want[name]), value(t, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func value(t *testing.T, text json.RawMessage) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNames(t *testing.T) {
	t.Parallel()
	r := protection.NewRegistry()
	Register(r)
	for _, name := range []string{
		"karbor-image-protection-plugin",
		"karbor.services.protection.protection_plugins.image.image_protection_plugin.GlanceProtectionPlugin",
	} {
		if _, err := r.Lookup(name); err != nil {
			t.Error(err)
		}
	}
}
