// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/resource/pyjson"
	"github.com/karbor-project/karbor/providers/protection"
)

// decodePlan reads a plan: the versioned object that karbor-api sends, or a plain object with the
// same members. An absent value, null and {} are refused. most bounds the resources; 0 means no
// bound.
// karbor: objects/plan.py
func decodePlan(value json.RawMessage, missing string, most int) (operation.Plan, error) {
	fields, err := decodeObject(value, "Plan")
	if err != nil {
		return operation.Plan{}, fault.InvalidPlan(err.Error()).WithCause(err)
	}
	if len(fields) == 0 {
		return operation.Plan{}, fault.InvalidPlan(missing)
	}
	plan, err := planOf(fields, most)
	if err != nil {
		return operation.Plan{}, fault.InvalidPlan(err.Error())
	}
	return plan, nil
}

func planOf(fields map[string]json.RawMessage, most int) (operation.Plan, error) {
	var plan operation.Plan
	for _, f := range []struct {
		name     string
		field    *string
		required bool
	}{
		{"id", &plan.ID, true}, {"name", &plan.Name, false},
		{"provider_id", &plan.ProviderID, true}, {"project_id", &plan.ProjectID, false},
	} {
		var err error
		if *f.field, err = textField(fields, f.name); err != nil {
			return plan, err
		}
		if f.required && *f.field == "" {
			return plan, fmt.Errorf("%s is missing", f.name)
		}
	}
	plan.Unnamed = isNull(fields["name"])
	var err error
	if plan.Resources, err = resourcesOf(fields["resources"], most); err != nil {
		return plan, err
	}
	plan.Parameters, err = parametersOf(fields["parameters"])
	return plan, err
}

func textField(fields map[string]json.RawMessage, name string) (string, error) {
	value := fields[name]
	if isNull(value) {
		return "", nil
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return "", fmt.Errorf("%s: want a string, got %s", name, kindOf(value))
	}
	return text, nil
}

func isNull(value json.RawMessage) bool { return len(value) == 0 || string(value) == "null" }

// resourceMembers are the members that a resource of a plan may have. Any other member is probably
// a mistake, since the plan's schema allows no extensions.
var resourceMembers = []string{"extra_info", "id", "name", "type"}

// resourcesOf reads a list of resources one by one. Resources beyond the bound are counted but not
// kept.
func resourcesOf(value json.RawMessage, most int) ([]resource.Resource, error) {
	if isNull(value) {
		return nil, nil
	}
	wrong := fmt.Errorf("resources: want a list of objects, got %s", kindOf(value))
	d := json.NewDecoder(bytes.NewReader(value))
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return nil, wrong
	}
	resources, count := []resource.Resource{}, 0
	for ; d.More(); count++ {
		if most > 0 && count >= most {
			resources = nil
			var skipped json.RawMessage
			if d.Decode(&skipped) != nil {
				return nil, wrong
			}
			continue
		}
		var members map[string]json.RawMessage
		if d.Decode(&members) != nil {
			return nil, wrong
		}
		r, err := resourceOf(members)
		if err != nil {
			return nil, fmt.Errorf("resources[%d]: %w", count, err)
		}
		resources = append(resources, r)
	}
	if most > 0 && count > most {
		return nil, fmt.Errorf("resources: %d are more than one operation may be about: at most %d (max_resources_per_operation)", count, most)
	}
	return resources, nil
}

func resourceOf(members map[string]json.RawMessage) (resource.Resource, error) {
	var r resource.Resource
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(resourceMembers, name) {
			return r, fmt.Errorf("unexpected member %s", name)
		}
	}
	for name, field := range map[string]*string{"id": &r.ID, "type": &r.Type, "name": &r.Name} {
		var err error
		if *field, err = textField(members, name); err != nil {
			return r, err
		}
	}
	r.Unnamed = isNull(members["name"])
	if r.ID == "" || r.Type == "" {
		return r, fmt.Errorf("id and type are required")
	}
	if extra := members["extra_info"]; !isNull(extra) {
		if err := pyjson.CheckReadable(extra, pyjson.MaxDepth); err != nil {
			return r, fmt.Errorf("extra_info: %w", err)
		}
		r.ExtraInfo = extra
	}
	return r, nil
}

// parametersOf reads {"type" or "type#id": {name: value}}.
func parametersOf(value json.RawMessage) (operation.Parameters, error) {
	if isNull(value) {
		return nil, nil
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(value, &all) != nil {
		return nil, fmt.Errorf("parameters: want an object, got %s", kindOf(value))
	}
	parameters := make(operation.Parameters, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		var of protection.Parameters
		if isNull(all[key]) || json.Unmarshal(all[key], &of) != nil {
			return nil, fmt.Errorf("parameters of %s: want an object, got %s", strings.TrimSpace(key), kindOf(all[key]))
		}
		parameters[key] = of
	}
	return parameters, nil
}
