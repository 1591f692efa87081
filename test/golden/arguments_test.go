// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// kinds has a value of each kind of JSON that means nothing anywhere.
var kinds = map[string]json.RawMessage{
	"null": json.RawMessage(`null`), "bool": json.RawMessage(`true`), "number": json.RawMessage(`7`),
	"string": json.RawMessage(`"no-such-thing"`), "list": json.RawMessage(`[1, {"a": null}]`), "object": json.RawMessage(`{"no": ["such"]}`),
}

const noop = "b766f37c-d011-4026-8228-28730d734a3f"

// methods are the arguments of every method by name: the kinds that are no
// mistake. A value may be refused for what it is even so.
var methods = map[string]map[string]string{
	"list_providers":              {"marker": "null string", "limit": "null number", "sort_keys": "null string", "sort_dirs": "null string", "filters": "null object", "list_options": "null object"},
	"show_provider":               {"provider_id": ""},
	"list_checkpoints":            {"provider_id": "", "marker": "null", "limit": "null number", "sort_keys": "null string", "sort_dirs": "null", "filters": "null object", "all_tenants": "null bool", "list_options": "null object"},
	"show_checkpoint":             {"provider_id": "", "checkpoint_id": ""},
	"list_protectable_types":      {},
	"show_protectable_type":       {"protectable_type": ""},
	"list_protectable_instances":  {"protectable_type": "", "marker": "null string", "limit": "null number", "sort_keys": "null string", "sort_dirs": "null string", "filters": "null object", "parameters": "null object"},
	"show_protectable_instance":   {"protectable_type": "", "protectable_id": "string", "parameters": "null object"},
	"list_protectable_dependents": {"protectable_type": "", "protectable_id": "string", "protectable_name": "null string"},
	"protect":                     {"plan": "", "checkpoint_properties": "null object"},
	"copy":                        {"plan": ""},
	"restore":                     {"restore": "", "restore_auth": "null object"},
	"verification":                {"verification": ""},
	"delete":                      {"provider_id": "", "checkpoint_id": ""},
	"delete_checkpoint":           {"provider_id": "", "checkpoint_id": ""},
	"reset_state":                 {"provider_id": "", "checkpoint_id": "", "state": "string"},
	"execute_operation":           {"backup_plan": "", "action": ""},
}

// usual are arguments that are right.
var usual = map[string]any{
	"provider_id": noop, "checkpoint_id": "75019568-6138-4274-baaa-09d01c2c2743", "protectable_type": "OS::Keystone::Project",
	"protectable_id": "11111111-1111-4111-8111-111111111111", "state": "error", "action": "protect",
	"plan": usualPlan, "backup_plan": usualPlan, "restore": usualRecord, "verification": usualRecord,
}

var (
	usualPlan = map[string]any{"id": "a4d137bc-5148-467f-a4c1-c8163d78800c", "name": "plan", "provider_id": noop,
		"project_id": "11111111-1111-4111-8111-111111111111",
		"resources":  []any{map[string]any{"id": "x1", "type": "OS::Cinder::Volume", "name": "n"}}, "parameters": map[string]any{}}
	usualRecord = map[string]any{"id": "bd51edfa-3f8b-4811-8359-4e71cb36a804", "provider_id": noop,
		"checkpoint_id": "75019568-6138-4274-baaa-09d01c2c2743", "project_id": "11111111-1111-4111-8111-111111111111", "parameters": map[string]any{}}
)

// refused checks that a call was the caller's mistake, and says which.
func refused(t *testing.T, r *reply, what ...string) {
	t.Helper()
	f := r.failure(t)
	if f == nil {
		t.Errorf("answer is %.300s", r.Result)
		return
	}
	code, _ := f.Kwargs["code"].(float64)
	if f.Module != "karbor.exception" || code < 400 || code >= 500 || len(f.Tb) > 0 {
		t.Errorf("%s.%s (%v): %s", f.Module, f.Class, code, f.Message)
	}
	if len(f.Args) != 1 || f.Args[0] != f.Message {
		t.Errorf("args are %v, message is %s", f.Args, f.Message)
	}
	if !slices.ContainsFunc(what, func(word string) bool { return strings.Contains(strings.ToLower(f.Message), word) }) {
		t.Errorf("%s does not name %s: %s", f.Class, what[0], f.Message)
	}
}

func TestMistypedArguments(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	// What an error calls an argument, other than by its name.
	also := map[string][]string{"provider_id": {"provider"}, "checkpoint_id": {"checkpoint"}, "protectable_type": {"protectabletype"},
		"plan": {"plan"}, "backup_plan": {"plan"}, "marker": {"checkpoint"}}
	for _, method := range slices.Sorted(maps.Keys(methods)) {
		for _, argument := range slices.Sorted(maps.Keys(methods[method])) {
			for _, kind := range slices.Sorted(maps.Keys(kinds)) {
				if slices.Contains(strings.Fields(methods[method][argument]), kind) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", method, argument, kind), func(t *testing.T) {
					args := map[string]any{}
					for name := range methods[method] {
						if value, ok := usual[name]; ok {
							args[name] = value
						}
					}
					args[argument] = kinds[kind]
					refused(t, d.call(t, request{Method: method, Args: args}), append([]string{argument}, also[argument]...)...)
				})
			}
		}
		t.Run(method+"/unexpected", func(t *testing.T) {
			args := map[string]any{"no_such_argument": 1}
			for name := range methods[method] {
				if value, ok := usual[name]; ok {
					args[name] = value
				}
			}
			refused(t, d.call(t, request{Method: method, Args: args}), "no_such_argument")
		})
	}
	d.serves(t)
}

func TestMistypedMembers(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	type place struct {
		method, argument, member, right string
	}
	var places []place
	for member, right := range map[string]string{"id": "string", "name": "null string", "provider_id": "string", "project_id": "null string",
		"resources": "null", "parameters": "null"} {
		for _, method := range []string{"protect", "copy"} {
			places = append(places, place{method, "plan", member, right})
		}
		places = append(places, place{"execute_operation", "backup_plan", member, right})
	}
	for member, right := range map[string]string{"id": "string", "provider_id": "string", "project_id": "null string",
		"checkpoint_id": "string", "parameters": "null"} {
		places = append(places, place{"restore", "restore", member, right}, place{"verification", "verification", member, right})
	}
	// An id that is no text is that of nothing.
	for _, member := range []string{"start_date", "end_date"} {
		places = append(places, place{"list_checkpoints", "filters", member, "null number string"})
	}
	for _, p := range places {
		for kind, value := range kinds {
			if slices.Contains(strings.Fields(p.right), kind) {
				continue
			}
			t.Run(strings.Join([]string{p.method, p.argument, p.member, kind}, "/"), func(t *testing.T) {
				object, _ := usual[p.argument].(map[string]any)
				object = maps.Clone(object)
				if object == nil {
					object = map[string]any{}
				}
				object[p.member] = value
				args := map[string]any{p.argument: object}
				switch p.method {
				case "list_checkpoints":
					args["provider_id"] = noop
				case "execute_operation":
					args["action"] = "protect"
				}
				refused(t, d.call(t, request{Method: p.method, Args: args}), p.member)
			})
		}
	}
	d.serves(t)
}

func TestAbsurdValues(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	for _, limit := range []string{`-1`, `1e30`, `1.5`, `"x"`, `""`, `" 1"`, `99999999999999999999`, `-0.1`} {
		for _, method := range []string{"list_providers", "list_checkpoints"} {
			args := map[string]any{"limit": json.RawMessage(limit)}
			if method == "list_checkpoints" {
				args["provider_id"] = noop
			}
			refused(t, d.call(t, request{Method: method, Args: args}), "limit")
		}
	}
	long := strings.Repeat("x", 5<<20)
	refused(t, d.call(t, request{Method: "show_provider", Args: map[string]any{"provider_id": long}}), "provider")
	refused(t, d.call(t, request{Method: "show_checkpoint", Args: map[string]any{"provider_id": noop, "checkpoint_id": long}}), "checkpoint")
	refused(t, d.call(t, request{Method: "show_checkpoint", Args: map[string]any{"provider_id": noop, "checkpoint_id": "../../../etc/passwd"}}), "checkpoint")
	refused(t, d.call(t, request{Method: "protect", Args: map[string]any{"plan": long}}), "plan")
	deep := json.RawMessage(strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000))
	refused(t, d.call(t, request{Method: "list_checkpoints", Args: map[string]any{"provider_id": noop,
		"filters": map[string]any{"plan_id": deep}}}), "filters")
	refused(t, d.call(t, request{Method: "protect", Args: map[string]any{"plan": deep}}), "plan")
	d.serves(t)
}

// TestWrongContext has members of a wrong type in the request context.
func TestWrongContext(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	for _, member := range []string{"user_id", "project_id", "is_admin", "roles", "request_id", "auth_token", "service_catalog"} {
		for _, value := range []string{`{"a": 1}`, `[[1]]`, `7`} {
			context := maps.Clone(caller)
			context[member] = json.RawMessage(value)
			f := d.call(t, request{Method: "list_providers", Context: context}).failure(t)
			if f == nil || f.Module != "karbor.exception" || f.Class != "InvalidInput" || !strings.Contains(f.Message, member) {
				t.Errorf("%s = %s: %+v", member, value, f)
			}
		}
	}
	d.serves(t)
}
