// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

func TestValuesAndTheirTexts(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]any{"True": true, "False": false, "5": 5, "0.5": 0.5, "text": "text"} {
		if got := asText(value); got != want {
			t.Errorf("%v is %s", value, got)
		}
	}
}

// A plugin whose parameters do what they say passes, in both forms of each.
func TestParameters(t *testing.T) {
	t.Parallel()
	schema := json.RawMessage(`{"properties": {"name": {"type": "string"}, "mode": {"type": "string", "enum": ["a", "b"]}, "force": {"type": "boolean"}, "count": {"type": "integer"}}}`)
	var given []string
	Parameters(t, protection.Schemas{Options: schema, Restore: json.RawMessage(`{}`)}, Effects{protection.Protect: {
		"name": {Value: "n"}, "mode": {Value: "b", Shown: 2}, "force": {Value: true}, "count": {Value: 3, Shown: "3"},
	}}, func(_ testing.TB, kind protection.Kind, p protection.Parameters) (map[string]any, error) {
		if kind == protection.Restore {
			schema = nil
		}
		if err := p.Check(schema); err != nil {
			if !fault.Is(err, "InvalidInput") {
				t.Error(err)
			}
			return nil, err
		}
		given = append(given, string(p["force"])+string(p["count"]))
		shown := map[string]any{"mode": 1}
		if name, ok := p.String("name"); ok {
			shown["name"] = name
		}
		if mode, _ := p.String("mode"); mode == "b" {
			shown["mode"] = 2
		}
		shown["force"], _ = p.Bool("force")
		shown["count"], _ = p.String("count")
		return shown, nil
	})
	for _, want := range []string{`"True""3"`, `true3`} {
		if !slices.Contains(given, want) {
			t.Errorf("%s was not given: %v", want, given)
		}
	}
}
