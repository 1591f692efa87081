// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDescribed has the calls that were recorded in words alone: what was asked
// and what the answer was, without the bytes. ours is empty where the answer is
// the original's, or tells why it is another one.
func TestDescribed(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	tables := d.openRows(t)
	const (
		available, second = "75019568-6138-4274-baaa-09d01c2c2743", "86778063-f0c5-440a-a756-fa7fa07b11a8"
		protecting        = "9b44f751-5a99-4609-8f42-5fea1ecda5c7"
		failed            = "4e8e03c7-a8d6-4f7e-a9b0-b1ed7133c352"
		test              = "f0000000-0000-4000-8000-00000000000f"
	)
	bank := objects{}
	for _, name := range []string{"protect", "protect_plain_dict", "protect_slow", "protect_task_fails"} {
		s, err := load(name)
		if err != nil {
			t.Fatal(err)
		}
		bank.remember(s)
	}
	with := func(base map[string]any, more ...any) map[string]any {
		all := maps.Clone(base)
		for i := 0; i < len(more); i += 2 {
			all[more[i].(string)] = more[i+1]
		}
		return all
	}
	list := map[string]any{"provider_id": noop, "filters": map[string]any{}}
	other := map[string]any{"user_id": "u", "project_id": "22222222-2222-4222-8222-222222222222", "roles": []string{"member"}}
	admin := map[string]any{"user_id": "u", "project_id": "22222222-2222-4222-8222-222222222222", "roles": []string{"admin"}, "is_admin": true}
	parameters := func(text string) map[string]any {
		return map[string]any{"restore": with(usualRecord, "provider_id", test, "parameters", json.RawMessage(text)), "restore_auth": nil}
	}
	properties := func(extra any) map[string]any {
		return map[string]any{"plan": usualPlan, "checkpoint_properties": map[string]any{"status": "protecting", "extra_info": extra}}
	}
	three := []any{}
	for i := range 3 {
		three = append(three, map[string]any{"id": fmt.Sprintf("v%d", i), "type": "OS::Cinder::Volume", "name": "n", "extra_info": nil})
	}
	const made, null = "a checkpoint", "null"
	for _, one := range []struct {
		name string
		call request
		want string // a class of error, the ids of a listing, or one of the above
		ours string // why it is not what the original answers
	}{
		{"protect_3_resources", request{Method: "protect", Args: map[string]any{"plan": with(usualPlan, "resources", three)}}, made, ""},
		{"list_checkpoints_marker_limit", request{Method: "list_checkpoints", Args: with(list, "marker", available, "limit", 1)}, second, ""},
		{"list_checkpoints_plan_and_date", request{Method: "list_checkpoints", Args: with(list, "filters",
			map[string]any{"plan_id": "a4d137bc-5148-467f-a4c1-c8163d78800c", "start_date": "2020-01-01", "end_date": "2099-01-01"})}, available + " " + second, ""},
		{"list_checkpoints_project_filter", request{Method: "list_checkpoints", Context: admin, Args: with(list, "all_tenants", true,
			"filters", map[string]any{"project_id": "11111111-1111-4111-8111-111111111111"})}, available + " " + second, ""},
		{"list_checkpoints_all_tenants_marker", request{Method: "list_checkpoints", Context: admin, Args: with(list, "all_tenants", true, "marker", available)}, second, ""},
		{"extra_all_tenants_other_project_nonadmin", request{Method: "list_checkpoints", Context: other, Args: with(list, "all_tenants", true)}, "",
			"all_tenants counts for administrators only: the original shows everybody's checkpoints"},
		{"restore_invalid_uuid", request{Method: "restore", Args: parameters(`{"OS::Cinder::Volume#notauuid": {"sleep": "0"}}`)}, "InvalidInput", ""},
		{"restore_invalid_two_hashes", request{Method: "restore", Args: parameters(`{"OS::Cinder::Volume#a#b": {"x": "y"}}`)}, "InvalidInput", noBuiltins},
		{"verification_other_project", request{Method: "verification", Context: other, Args: map[string]any{"verification": usualRecord}},
			"CheckpointNotFound", "a stranger's checkpoint cannot be verified, and is not there for others"},
		{"reset_state_protecting", request{Method: "reset_state", Args: map[string]any{"provider_id": test, "checkpoint_id": protecting, "state": "error"}},
			"CheckpointNotBeReset", ""},
		{"delete_error_checkpoint", request{Method: "delete", Args: map[string]any{"provider_id": test, "checkpoint_id": failed}}, null, ""},
		{"proto_missing_arg", request{Method: "show_provider"}, "ProviderNotFound", noBuiltins},
		{"proto_extra_arg", request{Method: "list_protectable_types", Args: map[string]any{"bogus": 1}}, "InvalidInput", noBuiltins},
		{"proto_empty_context", request{Method: "show_provider", Context: map[string]any{}, Args: map[string]any{"provider_id": "x"}}, "ProviderNotFound",
			"a call without a context is one of nobody, where the original trips over it"},
		{"extra_path_traversal", request{Method: "show_checkpoint", Args: map[string]any{"provider_id": noop, "checkpoint_id": "../checkpoints/" + available}},
			"CheckpointNotFound", "an id leads to no other place in the bank"},
		{"extra_show_empty_id", request{Method: "show_checkpoint", Args: map[string]any{"provider_id": noop, "checkpoint_id": ""}}, "CheckpointNotFound", ""},
		{"extra_restore_dict", request{Method: "restore", Args: map[string]any{"restore": usualRecord, "restore_auth": nil}}, null,
			"a restore as a plain object means the same as the versioned object"},
		{"extra_protect_parameters_none", request{Method: "protect", Args: map[string]any{"plan": with(usualPlan, "parameters", nil)}}, made, ""},
		{"extra_protect_extra_info_not_json", request{Method: "protect", Args: properties("no JSON")}, "InvalidInput",
			"it is refused before a checkpoint is made"},
		{"extra_protect_extra_info_dict", request{Method: "protect", Args: properties(map[string]any{"a": 1})}, "InvalidInput",
			"it is refused before a checkpoint is made"},
		{"extra_protect_status_override", request{Method: "protect", Args: map[string]any{"plan": usualPlan,
			"checkpoint_properties": map[string]any{"status": "error"}}}, "InvalidInput", "a new checkpoint is being protected and nothing else"},
		{"extra_protect_created_by_engine", request{Method: "protect",
			Args: properties(`{"created_by": "operation-engine", "scheduled_operation_id": "0d1e2f3a-0000-4000-8000-000000000001"}`)}, made, ""},
		{"extra_restore_same_resource_graph_twice", request{Method: "restore", Args: map[string]any{"restore": usualRecord, "restore_auth": nil}}, null, ""},
	} {
		t.Run(one.name, func(t *testing.T) {
			d.fillBank(t, bank, shift{day: recordedDay})
			tables.clear(t)
			s := &scenario{Restores: []row{{"id": usualRecord["id"], "project_id": usualRecord["project_id"], "provider_id": noop, "checkpoint_id": available}}}
			if one.call.Method == "restore" {
				d.insertRecords(t, s)
			}
			r := d.call(t, one.call)
			have := "null"
			if f := r.failure(t); f != nil {
				have = f.Class
				if f.Module != "karbor.exception" {
					t.Errorf("%+v", f)
				}
			} else if ids, _ := listing(r.Result); ids != nil || string(r.Result) == "[]" {
				have = strings.Join(ids, " ")
			} else if anUUID.Match(r.Result) {
				have = made
			}
			if diff := cmp.Diff(one.want, have); diff != "" {
				t.Errorf("(-want +got)\n%s\n%s", diff, r.Result)
			}
			if one.ours != "" {
				t.Logf("not as the original: %s", one.ours)
			}
			tables.settle(t)
			for _, log := range tables.read(t, "operation_logs") {
				if one.name == "extra_protect_created_by_engine" && log["scheduled_operation_id"] != "0d1e2f3a-0000-4000-8000-000000000001" {
					t.Errorf("operation log is %v", log)
				}
				if status := fmt.Sprint(log["status"]); status == "error" || status == "fail" || strings.HasPrefix(status, "error") {
					t.Errorf("operation log is %v", log)
				}
			}
		})
	}
}
