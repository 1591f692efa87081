// SPDX-License-Identifier: Apache-2.0

package database

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote/remotetest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var shop = resource.Resource{Type: resource.Database, ID: "7de1bed8-6983-4d46-9a52-0abfbb0d27a2", Name: "shop"}

func plugin(f *remotetest.Fake) *Plugin {
	return New(poll.Config{PollInterval: time.Millisecond}, f.Factory)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugin(newTrove(t)))
}

func TestNoCopy(t *testing.T) {
	t.Parallel()
	if _, err := plugin(newTrove(t)).Operation(protection.Copy, shop); !errors.Is(err, protection.ErrNoOperation) {
		t.Errorf("got %v", err)
	}
}

// text is the metadata of a backup of the shop.
func text(backup string) string {
	return fmt.Sprintf(`{"instance_id": %q, "datastore": {"type": "mysql", "version": "5.7"}, "flavor": %s, "size": 5, "backup_id": %q}`, shop.ID, flavor, backup)
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	f, h := newTrove(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	for range 3 { // others, so that a listing has several pages
		f.Add("backups", &remotetest.Thing{ID: "another", Status: "COMPLETED", Fields: map[string]any{"name": "another"}})
	}
	must(t, h.Run(ctx, p, protection.Protect, h.Call(shop, "backup_name", "nightly", "description", "of the shop")))

	backups := f.Things("backups")
	if len(backups) != 4 {
		t.Fatalf("%d backups", len(backups))
	}
	b := backups[3]
	if b.Field("name") != "nightly" || !strings.HasPrefix(b.Field("description"), "of the shop [karbor ") {
		t.Errorf("backup is %v", b.Fields)
	}
	if got, want := h.Text(shop, "metadata"), text(b.ID); got != want {
		t.Errorf("metadata is\n%s, not\n%s", got, want)
	}
	if got := h.Text(shop, "status"); got != "available" {
		t.Errorf("status is %s", got)
	}
	must(t, h.Run(ctx, p, protection.Verify, h.Call(shop)))

	f.Things("instances")[0].Data = "lost"
	must(t, h.Run(ctx, p, protection.Restore, h.Call(shop, "restore_name", "back")))
	id, _ := h.NewResources.Get(shop.ID)
	restored := f.Things("instances")[1]
	if restored.ID != id || restored.Data != "rows" || restored.Field("name") != "back" {
		t.Errorf("restored %+v", restored)
	}
	records := []plugintest.Record{
		{Type: shop.Type, ID: shop.ID, Status: "available"},
		{Type: shop.Type, ID: id, Status: "restoring"},
		{Type: shop.Type, ID: id, Status: "available"},
	}
	if diff := cmp.Diff(records, h.Status.Records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}

	must(t, h.Run(ctx, p, protection.Delete, h.Call(shop)))
	if diff := cmp.Diff([]string{"status"}, h.Keys(shop)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if left := f.Things("backups"); len(left) != 3 || h.Text(shop, "status") != "deleted" {
		t.Errorf("%d backups are left, status %s", len(left), h.Text(shop, "status"))
	}
}

// The same checkpoint restored twice gives two instances.
func TestRestoreTwice(t *testing.T) {
	t.Parallel()
	f, h := newTrove(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(shop)))
	if got, want := f.Things("backups")[0].Field("name"), "backup"+shop.ID; got != want {
		t.Errorf("the name is %s, not %s", got, want)
	}
	for range 2 {
		h.State = &plugintest.State{}
		must(t, h.Run(ctx, p, protection.Restore, h.Call(shop)))
	}
	instances := f.Things("instances")
	if len(instances) != 3 {
		t.Fatalf("%d instances", len(instances))
	}
	if got, want := instances[2].Field("name"), h.Checkpoint.ID()+"@"+shop.ID; got != want {
		t.Errorf("the name is %s, not %s", got, want)
	}
}

// What the original has written is restored, verified and deleted.
func TestCheckpointOfTheOriginal(t *testing.T) {
	t.Parallel()
	f, h := newTrove(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	f.Add("backups", &remotetest.Thing{ID: "a-backup", Status: "COMPLETED", Data: "old", Fields: map[string]any{"instance_id": shop.ID, "name": "n", "description": nil}})
	section := h.Call(shop).Section
	must(t, section.PutText(ctx, "status", "available"))
	must(t, section.PutText(ctx, "metadata", text("a-backup")))
	must(t, h.Run(ctx, p, protection.Verify, h.Call(shop)))
	must(t, h.Run(ctx, p, protection.Restore, h.Call(shop)))
	if got := f.Things("instances")[1].Data; got != "old" {
		t.Errorf("restored %s", got)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(shop)))
	if n := len(f.Things("backups")); n != 0 {
		t.Errorf("%d backups are left", n)
	}
}

// Statuses that the original did not know.
func TestHealthyInstance(t *testing.T) {
	t.Parallel()
	f, h := newTrove(t), plugintest.New(t)
	f.Things("instances")[0].Status = "HEALTHY"
	p, ctx := plugin(f), openstacktest.Context(t)
	f.Refuse("POST /backups", 422, "the wait is over")
	err := h.Run(ctx, p, protection.Protect, h.Call(shop))
	if err == nil || !strings.Contains(err.Error(), "the wait is over (HTTP 422)") {
		t.Errorf("got %v", err)
	}
}

func TestSchemasOfTheOriginal(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/schemas.json")
	must(t, err)
	var want map[string]any
	must(t, json.Unmarshal(data, &want))
	got := map[string]any{}
	for name, schema := range map[string]json.RawMessage{"OPTIONS_SCHEMA": schemas.Options, "RESTORE_SCHEMA": schemas.Restore, "SAVED_INFO_SCHEMA": schemas.SavedInfo, "VERIFY_SCHEMA": schemas.Verify} {
		var value any
		must(t, json.Unmarshal(schema, &value))
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What of an instance no restore sets is known when it is protected.
func TestWhatNoRestoreBringsBackIsRemarked(t *testing.T) {
	t.Parallel()
	for want, has := range map[string]map[string]any{
		"": {"replicas": []any{}, "region": ""},
		`{"configuration":{"id":"c1"},"region":"one"} -> `: {"configuration": map[string]any{"id": "c1"}, "region": "one"},
	} {
		f, h := newTrove(t), plugintest.New(t)
		maps.Copy(f.Find("instances", shop.ID).Fields, has)
		must(t, h.Run(openstacktest.Context(t), plugin(f), protection.Protect, h.Call(shop)))
		if got := h.Remarks.Aspects()["instance attributes"]; got != want {
			t.Errorf("remarked %q, want %q", got, want)
		}
	}
}
