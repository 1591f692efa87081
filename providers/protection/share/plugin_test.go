// SPDX-License-Identifier: Apache-2.0

package share

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

var home = resource.Resource{Type: resource.Share, ID: "6b9ef8bd-f2a3-4b26-a3ab-5ad6bd6e7e0b", Name: "home"}

func plugin(f *manila) *Plugin {
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
	plugintest.Run(t, plugin(newManila(t)))
}

func TestNoCopy(t *testing.T) {
	t.Parallel()
	if _, err := plugin(newManila(t)).Operation(protection.Copy, home); !errors.Is(err, protection.ErrNoOperation) {
		t.Errorf("got %v", err)
	}
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(home, "snapshot_name", "nightly", "description", "of the house", "force", "True")))

	snapshots := f.Things("snapshots")
	if len(snapshots) != 1 {
		t.Fatalf("%d snapshots", len(snapshots))
	}
	s := snapshots[0]
	if s.Field("name") != "nightly" || !strings.HasPrefix(s.Field("description"), "of the house [karbor ") || s.Fields["force"] != true {
		t.Errorf("snapshot is %v", s.Fields)
	}
	want := fmt.Sprintf(`{"share_id": %q, "size": 2, "share_proto": "NFS", "share_type": "default", "share_network_id": null, "snapshot_id": %q}`, home.ID, s.ID)
	if got := h.Text(home, "metadata"); got != want {
		t.Errorf("metadata is\n%s, not\n%s", got, want)
	}
	if got := h.Text(home, "status"); got != "available" {
		t.Errorf("status is %s", got)
	}
	must(t, h.Run(ctx, p, protection.Verify, h.Call(home)))

	f.Things("shares")[0].Data = "lost"
	must(t, h.Run(ctx, p, protection.Restore, h.Call(home, "restore_name", "back")))
	id, _ := h.NewResources.Get(home.ID)
	restored := f.Things("shares")[1]
	if restored.ID != id || restored.Data != "data" || restored.Field("name") != "back" || restored.Fields["size"] != 2.0 {
		t.Errorf("restored %+v", restored)
	}
	records := []plugintest.Record{
		{Type: home.Type, ID: home.ID, Status: "available"},
		{Type: home.Type, ID: id, Status: "restoring"},
		{Type: home.Type, ID: id, Status: "available"},
	}
	if diff := cmp.Diff(records, h.Status.Records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}

	must(t, h.Run(ctx, p, protection.Delete, h.Call(home)))
	if diff := cmp.Diff([]string{"status"}, h.Keys(home)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if left := f.Things("snapshots"); len(left) != 0 || h.Text(home, "status") != "deleted" {
		t.Errorf("%d snapshots are left, status %s", len(left), h.Text(home, "status"))
	}
}

// The same checkpoint restored twice gives two shares.
func TestRestoreTwice(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(home)))
	for range 2 {
		h.State = &plugintest.State{}
		must(t, h.Run(ctx, p, protection.Restore, h.Call(home)))
	}
	shares := f.Things("shares")
	if len(shares) != 3 {
		t.Fatalf("%d shares", len(shares))
	}
	if got, want := shares[2].Field("name"), h.Checkpoint.ID()+"@"+home.ID; got != want {
		t.Errorf("the name is %s, not %s", got, want)
	}
}

// What the original has written is restored, verified and deleted.
func TestCheckpointOfTheOriginal(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	f.Add("snapshots", &remotetest.Thing{ID: "a-snapshot", Status: "available", Data: "old", Fields: map[string]any{"share_id": home.ID, "name": "n", "description": nil}})
	section := h.Call(home).Section
	must(t, section.PutText(ctx, "status", "available"))
	must(t, section.PutText(ctx, "metadata", fmt.Sprintf(`{"share_id": %q, "size": 2, "share_proto": "NFS", "share_type": "default", "share_network_id": null, "snapshot_id": "a-snapshot"}`, home.ID)))
	must(t, h.Run(ctx, p, protection.Verify, h.Call(home)))
	must(t, h.Run(ctx, p, protection.Restore, h.Call(home)))
	if got := f.Things("shares")[1].Data; got != "old" {
		t.Errorf("restored %s", got)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(home)))
	if n := len(f.Things("snapshots")); n != 0 {
		t.Errorf("%d snapshots are left", n)
	}
}

// Force is asked for in each form of the parameter.
func TestForce(t *testing.T) {
	t.Parallel()
	for force, want := range map[string]bool{`"True"`: true, `true`: true, `"1"`: true, `"False"`: false, `false`: false, `null`: false} {
		f, h := newManila(t), plugintest.New(t)
		call := h.Call(home)
		call.Parameters["force"] = json.RawMessage(force)
		must(t, h.Run(openstacktest.Context(t), plugin(f), protection.Protect, call))
		if got := f.Things("snapshots")[0].Fields["force"]; got != want {
			t.Errorf("force %s became %v", force, got)
		}
	}
}

func TestLongDescription(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(home, "description", strings.Repeat("x", 300))))
	if got := f.Things("snapshots")[0].Field("description"); !strings.HasSuffix(got, "resource "+home.ID+"]") {
		t.Errorf("the description is %s", got)
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

// What of a share no restore sets is known when it is protected.
func TestWhatNoRestoreBringsBackIsRemarked(t *testing.T) {
	t.Parallel()
	for want, has := range map[string]map[string]any{
		"": {"is_public": true, "metadata": map[string]any{"role": "home"}, "share_group_id": nil, "description": "d"},
		`{"replication_type":"dr","share_group_id":"g"} -> `: {"share_group_id": "g", "replication_type": "dr"},
	} {
		f, h := newManila(t), plugintest.New(t)
		maps.Copy(f.Find("shares", home.ID).Fields, has)
		must(t, h.Run(openstacktest.Context(t), plugin(f), protection.Protect, h.Call(home)))
		if got := h.Remarks.Aspects()["share attributes"]; got != want {
			t.Errorf("remarked %q, want %q", got, want)
		}
	}
}

// A restored share is described as the old one was and lets the same clients in. What Manila
// refuses of that is remarked.
func TestComesBackAsItWas(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	maps.Copy(f.Find("shares", home.ID).Fields, map[string]any{"description": "of the house", "is_public": true, "metadata": map[string]any{"role": "home"}})
	f.rules.Store(home.ID, []rule{
		{"ip", "10.0.0.0/24", "rw", "active"}, {"ip", "10.1.0.7", "ro", "active"}, {"user", "alice", "ro", "active"}, {"ip", "10.2.0.1", "rw", "error"},
	})
	must(t, h.Run(ctx, p, protection.Protect, h.Call(home)))
	must(t, h.Run(ctx, p, protection.Restore, h.Call(home)))
	id, _ := h.NewResources.Get(home.ID)
	restored := f.Find("shares", id)
	metadata, _ := restored.Fields["metadata"].(map[string]any)
	if restored.Field("description") != "of the house" || restored.Fields["is_public"] != nil || metadata["role"] != "home" {
		t.Errorf("restored %v", restored.Fields)
	}
	if diff := cmp.Diff([]rule{{"ip", "10.0.0.0/24", "rw", ""}, {"ip", "10.1.0.7", "ro", ""}}, f.rulesOf(id)); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	want := map[string]string{"access rule": "ro for user alice -> ", "visibility of a share": "public -> private"}
	if diff := cmp.Diff(want, h.Remarks.Aspects()); diff != "" {
		t.Errorf("remarks (-want +got):\n%s", diff)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(home)))
	if diff := cmp.Diff([]string{"status"}, h.Keys(home)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// A trial of a restore says what is made and makes nothing, and why nothing can be made of a
// snapshot that is gone.
func TestWhatIsGoneIsForetold(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	p, ctx := plugin(f), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(home)))
	operation, err := p.Operation(protection.Restore, home)
	must(t, err)
	call := h.Call(home, "restore_name", "back")
	call.NewResources = &protection.NewResources{}
	makes, err := operation.Plan(ctx, call)
	must(t, err)
	if makes["name"] != "back" || makes["size"] != "2" || makes["share_type"] != "default" || len(f.Things("shares")) != 1 {
		t.Errorf("planned are %v", makes)
	}
	f.Find("snapshots", f.Things("snapshots")[0].ID).ID = "other"
	if _, err := operation.Plan(ctx, call); err == nil || !strings.Contains(err.Error(), "Getting share snapshot fails.") {
		t.Errorf("got %v", err)
	}
}
