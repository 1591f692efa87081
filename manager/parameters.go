// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protection"
)

// checkParameters refuses parameters that no plugin of the provider has. It checks only the names,
// since karbor-api has turned the values into strings.
// karbor: manager.py validate_restore_parameters, validate_verify_parameters
func checkParameters(p *providers.Provider, kind protection.Kind, parameters operation.Parameters) error {
	has := func(resourceType string) bool {
		_, ok := p.Schema(kind, resourceType)
		return ok
	}
	if len(parameters) > 0 && !slices.ContainsFunc(p.Types(), has) {
		return fault.InvalidInput("The " + string(kind) + " schema of plugin must be provided.")
	}
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		resourceType, id, specific := strings.Cut(key, "#")
		if specific && !isUUID(id) {
			return fault.InvalidInput("The resource_id must be a uuid.")
		}
		schema, ok := p.Schema(kind, resourceType)
		if !ok || !slices.Contains(resource.Types(), resourceType) {
			return fault.InvalidInput("The key of " + string(kind) + " parameters is invalid.")
		}
		if !hasProperties(schema, parameters[key].Names()) {
			return fault.InvalidInput("The " + string(kind) + " property of " + string(kind) + " parameters is invalid.")
		}
	}
	return nil
}

// checkOptions refuses parameters of a protect that no plugin of the provider has. The original
// ignores them, so that a mistyped key produces another backup than the requested one.
func checkOptions(p *providers.Provider, parameters operation.Parameters) error {
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		resourceType, _, _ := strings.Cut(key, "#")
		if !slices.Contains(p.Types(), resourceType) {
			return fault.InvalidInput("parameters of " + key + ": the provider does not protect this type")
		}
		schema, _ := p.Schema(protection.Protect, resourceType)
		known := propertyNames(schema)
		if slices.Contains(protectable.Judged(), resourceType) {
			known = append(known, providers.OnUnfit)
		}
		for _, name := range parameters[key].Names() {
			if slices.Contains(known, name) {
				continue
			}
			text := "; there are none"
			if len(known) > 0 {
				text = "; there are: " + strings.Join(known, ", ")
			}
			return fault.InvalidInput("parameters of " + key + ": unknown parameter " + name + text)
		}
		choice, _ := parameters[key].String(providers.OnUnfit)
		if _, given := parameters[key][providers.OnUnfit]; given && choice != providers.Fail && choice != providers.LeaveOut {
			return fault.InvalidInput("parameters of " + key + ": " + providers.OnUnfit + ": want " + providers.Fail + " or " + providers.LeaveOut)
		}
	}
	return nil
}

// isUUID accepts the forms that Python's uuid.UUID reads: with a prefix urn:uuid:, in braces, with
// dashes in any place or none, in upper or lower case. oslo.utils: uuidutils.is_uuid_like
func isUUID(text string) bool {
	text = strings.NewReplacer("urn:", "", "uuid:", "").Replace(text)
	text = strings.ReplaceAll(strings.Trim(text, "{}"), "-", "")
	_, err := uuid.Parse(text)
	return err == nil && len(text) == 32
}

// hasProperties reports whether a schema has properties of all these names.
func hasProperties(schema json.RawMessage, names []string) bool {
	known := propertyNames(schema)
	return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(known, name) })
}

// propertyNames lists the properties of a schema in alphabetical order.
func propertyNames(schema json.RawMessage) []string {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Properties))
}
