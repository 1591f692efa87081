// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// Effect is what one parameter does.
type Effect struct {
	// Value is what the user gives: a string, or a value of the type that the
	// schema names, which karbor-api passes on as a text. It is not the default.
	Value any
	// Shown is what the service shows then, and does not show without the
	// parameter. Nil: Value.
	Shown any
}

func (e Effect) shown() any {
	if e.Shown == nil {
		return e.Value
	}
	return e.Shown
}

// Effects are the effects of all parameters of a type, by the kind of operation that
// takes them.
type Effects map[protection.Kind]map[string]Effect

// Look runs an operation with some parameters and returns what the service shows
// of each parameter, by its name. When the operation fails it returns the error,
// and may show something all the same.
type Look func(t testing.TB, kind protection.Kind, parameters protection.Parameters) (shown map[string]any, err error)

// Parameters holds the parameters of a type to its schemas. Each property has its
// entry in effects, and each entry comes to pass: with all parameters of a kind
// given, as texts and as values of their types, the service shows what the entries
// say, and without one of them something else in its place. What is not in the
// schema, or not of its type, is an InvalidInput that names it.
func Parameters(t *testing.T, schemas protection.Schemas, effects Effects, look Look) {
	t.Helper()
	for _, s := range []struct {
		kind   protection.Kind
		schema json.RawMessage
	}{{protection.Protect, schemas.Options}, {protection.Restore, schemas.Restoring()}, {protection.Verify, schemas.Verify}} {
		if s.schema == nil {
			continue // the plugin has no such operation
		}
		t.Run(string(s.kind), func(t *testing.T) {
			properties := propertiesOf(t, s.schema)
			known, described := slices.Sorted(maps.Keys(properties)), slices.Sorted(maps.Keys(effects[s.kind]))
			if !slices.Equal(known, described) {
				t.Fatalf("the schema has %v, effects are described of %v", known, described)
			}
			for _, wrong := range wrongs(properties) {
				_, err := look(t, s.kind, wrong.parameters)
				if !fault.Is(err, "InvalidInput") || !strings.Contains(err.Error(), wrong.name) {
					t.Errorf("%s given as %s: got %v, want an InvalidInput that names it", wrong.name, wrong.parameters[wrong.name], err)
				}
			}
			comeToPass(t, s.kind, effects[s.kind], look)
		})
	}
}

func comeToPass(t *testing.T, kind protection.Kind, effects map[string]Effect, look Look) {
	t.Helper()
	texts, values := protection.Parameters{}, protection.Parameters{}
	for name, effect := range effects {
		texts[name], values[name] = encode(t, asText(effect.Value)), encode(t, effect.Value)
	}
	given := []protection.Parameters{texts}
	if !reflect.DeepEqual(texts, values) {
		given = append(given, values)
	}
	for _, parameters := range given {
		shown, err := look(t, kind, parameters)
		if err != nil {
			t.Errorf("with %s: %v", parameters, err)
			continue
		}
		for name, effect := range effects {
			if !reflect.DeepEqual(shown[name], effect.shown()) {
				t.Errorf("%s given as %s shows %v, want %v", name, parameters[name], shown[name], effect.shown())
			}
		}
	}
	for name, effect := range effects {
		others := maps.Clone(values)
		delete(others, name)
		if shown, _ := look(t, kind, others); reflect.DeepEqual(shown[name], effect.shown()) {
			t.Errorf("%v is shown without %s too", shown[name], name)
		}
	}
}

// asText writes a value as karbor-api does, which takes Python's texts.
func asText(value any) string {
	switch value {
	case true:
		return "True"
	case false:
		return "False"
	}
	return fmt.Sprint(value)
}

func encode(t testing.TB, value any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// property is what a schema says of one.
type property struct {
	Type string   `json:"type"`
	Enum []string `json:"enum"`
}

func propertiesOf(t testing.TB, schema json.RawMessage) map[string]property {
	t.Helper()
	var s struct {
		Properties map[string]property `json:"properties"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		t.Fatal(err)
	}
	return s.Properties
}

// wrong are parameters of which the named one is wrong.
type wrong struct {
	name       string
	parameters protection.Parameters
}

// wrongs are an unknown parameter, and of each known one a value that is none.
func wrongs(properties map[string]property) []wrong {
	const unknown = "no_such_parameter"
	all := []wrong{{unknown, protection.Parameters{unknown: json.RawMessage(`"value"`)}}}
	for name, p := range properties {
		value := `["a list"]`
		if p.Type != "string" || len(p.Enum) > 0 {
			value = `"neither"`
		}
		all = append(all, wrong{name, protection.Parameters{name: json.RawMessage(value)}})
	}
	return all
}
