// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var (
	disk         = resource.Resource{Type: resource.Volume, ID: "39bf1b00-ebb7-4ffb-9069-021fda85d377", Name: "disk"}
	swiftStorage = Storage{Kind: "swift", Container: "karbor"}
)

func plugin(f *fakeFreezer, s Storage) *Plugin {
	return New(Config{Config: poll.Config{PollInterval: time.Millisecond}, Storage: s}, f.Factory)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugin(newFreezer(t, true), swiftStorage))
}

func TestNoVerifyAndNoCopy(t *testing.T) {
	t.Parallel()
	for _, kind := range []protection.Kind{protection.Verify, protection.Copy} {
		if _, err := plugin(newFreezer(t, true), swiftStorage).Operation(kind, disk); !errors.Is(err, protection.ErrNoOperation) {
			t.Errorf("%s: got %v", kind, err)
		}
	}
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	for _, two := range []bool{true, false} {
		t.Run(fmt.Sprintf("v2 %t", two), func(t *testing.T) {
			t.Parallel()
			f, h := newFreezer(t, two), plugintest.New(t)
			p, ctx := plugin(f, swiftStorage), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(disk, "backup_name", "my backup", "description", "d")))
			container := "karbor/" + h.Checkpoint.ID()
			if diff := cmp.Diff(map[string]int{container + " " + disk.ID: 1}, f.backups); diff != "" {
				t.Errorf("backups (-want +got):\n%s", diff)
			}
			var about metadata
			must(t, json.Unmarshal([]byte(h.Text(disk, "metadata")), &about))
			want := fmt.Sprintf(`{"job_id": %q, "job_info": {"description": "d", "job_actions": [{"freezer_action": {"backup_name": "my_backup", "action": "backup", "mode": "cinder", "cinder_vol_id": %q, "storage": "swift", "container": %q}}], "client_id": "node_1"}}`,
				about.JobID, disk.ID, container)
			if got := h.Text(disk, "metadata"); got != want || about.JobID == "" {
				t.Errorf("metadata is\n%s, not\n%s", got, want)
			}
			if got := h.Text(disk, "status"); got != "available" {
				t.Errorf("status is %s", got)
			}
			h.State = &plugintest.State{}
			must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
			// Freezer makes a new volume of each restore.
			id, _ := h.NewResources.Get(disk.ID)
			if volumes := f.Things(storage.Volumes); len(volumes) != 1 || volumes[0].ID != id {
				t.Errorf("new resource is %s of %v", id, volumes)
			}
			records := []plugintest.Record{{Type: disk.Type, ID: id, Status: "restoring"}, {Type: disk.Type, ID: id, Status: "available"}}
			if diff := cmp.Diff(records, h.Status.Records()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			h.State = &plugintest.State{}
			must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
			nothingLeft(t, f)
			if diff := cmp.Diff([]string{"status"}, h.Keys(disk)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

func nothingLeft(t *testing.T, f *fakeFreezer) {
	t.Helper()
	there, err := f.Inventory(t.Context())
	there = slices.DeleteFunc(there, func(what string) bool { return strings.HasPrefix(what, "volume ") }) // those restored
	if err != nil || len(there) != 0 {
		t.Errorf("Freezer still has %v, %v", there, err)
	}
}

// Two volumes of a checkpoint are kept in the same place, and secrets reach the
// job but not the bank.
func TestStorages(t *testing.T) {
	t.Parallel()
	for kind, tc := range map[string]struct {
		storage Storage
		info    string   // the end of the action in the bank
		secrets []string // in the jobs
	}{
		"s3": {
			Storage{Kind: "s3", Container: "box", Endpoint: "http://s3", AccessKey: "open-access", SecretKey: "open-secret"},
			`"endpoint": "http://s3"}`, []string{`"access_key":"open-access"`, `"secret_key":"open-secret"`},
		},
		"ssh": {
			Storage{Kind: "ssh", Container: "box", SSHKey: "open-key", SSHUser: "u", SSHHost: "h"},
			`"ssh_port": null, "ssh_username": "u", "ssh_host": "h"}`, []string{`"ssh_key":"open-key"`},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f, h := newFreezer(t, true), plugintest.New(t)
			p, ctx := plugin(f, tc.storage), openstacktest.Context(t)
			other := resource.Resource{Type: resource.Volume, ID: "0e0f0c0a-0000-4000-8000-00000000000b"}
			for _, r := range []resource.Resource{disk, other} {
				h.State = &plugintest.State{}
				must(t, h.Run(ctx, p, protection.Protect, h.Call(r)))
				text := h.Text(r, "metadata")
				if !strings.Contains(text, `"container": "box/`+h.Checkpoint.ID()+`"`) || !strings.Contains(text, tc.info) || strings.Contains(text, "open-") {
					t.Errorf("metadata is %s", text)
				}
				state, _ := h.State.Load(ctx)
				if strings.Contains(string(state), "open-") {
					t.Errorf("the state is %s", state)
				}
			}
			h.State = &plugintest.State{}
			must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
			h.State = &plugintest.State{}
			must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
			created := f.Calls("POST /freezer/v2/" + openstacktest.Project + "/jobs")
			jobs := 0
			for _, call := range created {
				if strings.HasSuffix(call.Path, "/event") {
					continue
				}
				jobs++
				for _, secret := range tc.secrets {
					if !strings.Contains(call.Body, secret) {
						t.Errorf("a job without %s: %s", secret, call.Body)
					}
				}
			}
			if jobs != 4 {
				t.Errorf("%d jobs were made", jobs)
			}
		})
	}
}

// What the original wrote may hold secrets, and a container of its own kind.
func TestABackupOfTheOriginal(t *testing.T) {
	t.Parallel()
	f, h := newFreezer(t, false), plugintest.New(t)
	container := "karbor/" + h.Checkpoint.ID() + "/" + h.Checkpoint.ID()
	f.backups[container+" "+disk.ID] = 1
	section := h.Call(disk).Section
	must(t, section.PutText(t.Context(), "metadata", fmt.Sprintf(
		`{"job_id": "j1", "job_info": {"description": "d", "job_actions": [{"freezer_action": {"backup_name": "b", "action": "backup", "mode": "cinder", "cinder_vol_id": %q, "storage": "s3", "container": %q, "endpoint": "e", "access_key": "old", "secret_key": "old"}}], "client_id": "node_1"}}`,
		disk.ID, container)))
	must(t, section.PutText(t.Context(), "status", "available"))
	p, ctx := plugin(f, swiftStorage), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
	h.State = &plugintest.State{}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	nothingLeft(t, f)
	if body := f.Calls("POST /freezer")[0].Body; !strings.Contains(body, `"secret_key":"old"`) {
		t.Errorf("the job is %s", body)
	}
}

func TestFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind       protection.Kind
		arrange    func(t *testing.T, f *fakeFreezer, h *plugintest.Harness)
		parameters []string
		class      string
		reason     string
	}{
		"no scheduler":      {protection.Protect, func(_ *testing.T, f *fakeFreezer, _ *plugintest.Harness) { f.clients = nil }, nil, "CreateResourceFailed", "No freezer-scheduler client exist"},
		"job fails":         {protection.Protect, func(_ *testing.T, f *fakeFreezer, _ *plugintest.Harness) { f.fails = true }, nil, "CreateResourceFailed", "Create Freezer Backup FreezerTask failed: The status of freezer job is invalid."},
		"unknown parameter": {protection.Protect, func(*testing.T, *fakeFreezer, *plugintest.Harness) {}, []string{"force", "1"}, "InvalidInput", "Parameter force is not known"},
		"bank is away": {protection.Protect, func(t *testing.T, _ *fakeFreezer, h *plugintest.Harness) {
			failPuts(h, 1)
		}, nil, "CreateResourceFailed", "Update Object "},
		"restore fails": {protection.Restore, func(_ *testing.T, f *fakeFreezer, _ *plugintest.Harness) { f.fails = true }, nil, "RestoreResourceFailed", "The status of freezer job is invalid."},
		"no job": {protection.Restore, func(t *testing.T, _ *fakeFreezer, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.PutText(t.Context(), "metadata", `{"job_id": "j"}`))
		}, nil, "RestoreResourceFailed", "The content of freezer job is invalid."},
		"empty job": {protection.Delete, func(t *testing.T, _ *fakeFreezer, h *plugintest.Harness) {
			must(t, h.Call(disk).Section.PutText(t.Context(), "metadata", `{"job_id": "j", "job_info": {"job_actions": []}}`))
		}, nil, "DeleteResourceFailed", "The content of freezer job is invalid."},
		"removal fails": {protection.Delete, func(_ *testing.T, f *fakeFreezer, _ *plugintest.Harness) { f.fails = true }, nil, "DeleteResourceFailed", "The status of freezer job is invalid."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h := newFreezer(t, true), plugintest.New(t)
			p, ctx := plugin(f, swiftStorage), openstacktest.Context(t)
			backups := 0
			if tc.kind != protection.Protect {
				must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
				h.State, backups = &plugintest.State{}, 1
			}
			tc.arrange(t, f, h)
			err := h.Run(ctx, p, tc.kind, h.Call(disk, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			if len(f.jobs) != 0 || len(f.actions) != 0 || len(f.backups) != backups {
				t.Errorf("left are %d jobs, %d actions, %d backups", len(f.jobs), len(f.actions), len(f.backups))
			}
			if status := h.Text(disk, "status"); tc.kind != protection.Restore && status != "error" {
				t.Errorf("status is %s", status)
			}
		})
	}
}

// A job that hangs ends with the wait for it, and is aborted.
func TestStuck(t *testing.T) {
	t.Parallel()
	f, h := newFreezer(t, true), plugintest.New(t)
	f.stuck = true
	p := New(Config{Config: poll.Config{PollInterval: time.Millisecond, PollTimeout: 50 * time.Millisecond}, Storage: swiftStorage}, f.Factory)
	err := h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(disk))
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), "The status of freezer job is invalid.") {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, f)
}

// A protect that died is cleaned up by the deletion of its checkpoint, which knows
// nothing of it.
func TestDeleteOfAnUnfinishedProtect(t *testing.T) {
	t.Parallel()
	f, h := newFreezer(t, true), plugintest.New(t)
	p, ctx := plugin(f, swiftStorage), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
	must(t, h.Call(disk).Section.Delete(ctx, "metadata"))
	must(t, h.Call(disk).Section.PutText(ctx, "status", "error"))
	f.clients = nil
	client, err := f.Backup(ctx)
	must(t, err)
	container := "karbor/" + h.Checkpoint.ID()
	body := map[string]any{"description": "d", "client_id": "node_1", "job_actions": []any{map[string]any{"freezer_action": map[string]any{
		"action": "backup", "cinder_vol_id": disk.ID, "container": container,
	}}}}
	jobs := f.URL + "/freezer/v2/" + openstacktest.Project + "/jobs"
	var answer struct {
		ID string `json:"job_id"`
	}
	_, err = client.Post(ctx, jobs, body, &answer, nil)
	must(t, err)
	f.find(answer.ID).schedule()["result"] = "success" // and its backup is there
	h.State = &plugintest.State{}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	nothingLeft(t, f)
}

func TestFreezerIsAway(t *testing.T) {
	t.Parallel()
	cloud, h := openstacktest.New(t), plugintest.New(t)
	cloud.Answer("GET /freezer/{$}", http.StatusInternalServerError, `{}`)
	p := New(Config{Config: poll.Config{PollInterval: time.Millisecond}, Storage: swiftStorage}, cloud.Factory)
	err := h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(disk))
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), "HTTP 500") {
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
	for name, schema := range map[string]json.RawMessage{"OPTIONS_SCHEMA": schemas.Options, "RESTORE_SCHEMA": schemas.Restore, "SAVED_INFO_SCHEMA": schemas.SavedInfo} {
		var value any
		must(t, json.Unmarshal(schema, &value))
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" || schemas.Verify != nil {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// failPuts lets the write fail that comes after so many of a protect.
func failPuts(h *plugintest.Harness, after int) {
	faults := make([]banktest.Fault, after, after+1)
	h.Faults.Queue(banktest.Put, append(faults, banktest.Fault{Err: errors.New("full")})...)
}

// A volume that Freezer restored before is not taken for the new one, and a restore
// whose volume is not to be found, or cannot be told from another, fails.
func TestNewVolumeOfARestore(t *testing.T) {
	t.Parallel()
	image := "freezer_restore_" + disk.ID
	for name, tc := range map[string]struct {
		before func(f *fakeFreezer)
		during func(f *fakeFreezer)
		want   string
	}{
		"restored before": {func(f *fakeFreezer) { f.AddVolume("earlier", "disk~1600000000", nil).ImageName = image }, nil, ""},
		"not to be found": {nil, func(f *fakeFreezer) { f.Refuse("GET /volumes/detail", http.StatusOK, "none") }, "is not to be found"},
		"two at a time":   {nil, func(f *fakeFreezer) { f.AddVolume("other", "disk~1600000000", nil).ImageName = image }, "cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h := newFreezer(t, true), plugintest.New(t)
			p, ctx := plugin(f, swiftStorage), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
			if tc.before != nil {
				tc.before(f)
			}
			h.State = &plugintest.State{}
			if tc.during != nil {
				f.restoring = func() { tc.during(f) }
			}
			err := h.Run(ctx, p, protection.Restore, h.Call(disk))
			id, _ := h.NewResources.Get(disk.ID)
			if tc.want == "" && (err != nil || id == "earlier" || id == "") || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("restored %s, %v", id, err)
			}
		})
	}
}
