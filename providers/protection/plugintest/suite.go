// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Run holds a plugin to what the service expects of each: known types, schemas
// that are JSON objects, operations or ErrNoOperation for every kind, and a
// delete of a resource of which nothing was ever stored. The plugin's clients
// may point nowhere.
func Run(t *testing.T, plugin protection.Plugin) {
	t.Helper()
	if len(plugin.Types()) == 0 {
		t.Error("the plugin protects nothing")
	}
	for _, kind := range plugin.Types() {
		t.Run(kind, func(t *testing.T) {
			if !slices.Contains(resource.Types(), kind) {
				t.Errorf("type %s is not one of Karbor's", kind)
			}
			schemas(t, plugin.Schemas(kind))
			operations(t, plugin, kind)
		})
	}
}

func schemas(t *testing.T, s protection.Schemas) {
	t.Helper()
	for name, text := range map[string]json.RawMessage{"options": s.Options, "restore": s.Restore, "saved info": s.SavedInfo, "verify": s.Verify} {
		if text == nil {
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil {
			t.Errorf("%s schema is not an object: %v", name, err)
		}
	}
	if s.Options == nil || s.Restore == nil || s.SavedInfo == nil {
		t.Error("a schema that karbor-api reads is absent")
	}
}

func operations(t *testing.T, plugin protection.Plugin, kind string) {
	t.Helper()
	r := resource.Resource{Type: kind, ID: "0e0f0c0a-0000-4000-8000-000000000001"}
	for _, k := range []protection.Kind{protection.Protect, protection.Restore, protection.Verify, protection.Delete, protection.Copy} {
		operation, err := plugin.Operation(k, r)
		if (operation == nil) == (err == nil) {
			t.Errorf("%s: operation %v with error %v", k, operation, err)
		}
		if err != nil && !errors.Is(err, protection.ErrNoOperation) {
			t.Errorf("%s: %v", k, err)
		}
	}
	for _, k := range []protection.Kind{protection.Protect, protection.Restore, protection.Delete} {
		if _, err := plugin.Operation(k, r); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
	h := New(t)
	for range 2 {
		if err := h.Run(t.Context(), plugin, protection.Delete, h.Call(r)); err != nil {
			t.Errorf("delete of what was never stored: %v", err)
		}
	}
	for _, key := range h.Keys(r) {
		if key != protection.StatusKey {
			t.Errorf("%s was left behind", key)
		}
	}
}
