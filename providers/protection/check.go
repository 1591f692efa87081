// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/pkg/fault"
)

// property is what Check reads of a property of a schema.
type property struct {
	Type string   `json:"type"`
	Enum []string `json:"enum"`
}

// Check fails with an InvalidInput that names the first parameter which is not in
// a schema, or whose value is not what the schema says. Values may have their own
// JSON type or be texts of it, as karbor-api sends them: true or "True", 1 or
// "1". Null counts as absent. Required properties are not checked: the original did not
// check them either, and some of its schemas require properties that they do not define.
func (p Parameters) Check(schema json.RawMessage) error {
	var known struct {
		Properties map[string]property `json:"properties"`
	}
	if len(schema) > 0 {
		if err := json.Unmarshal(schema, &known); err != nil {
			return fmt.Errorf("read the schema of the parameters: %w", err)
		}
	}
	for _, name := range p.Names() {
		wanted, ok := known.Properties[name]
		if !ok {
			return fault.InvalidInput(fmt.Sprintf("Parameter %s is not known; known are: %s.",
				name, strings.Join(slices.Sorted(maps.Keys(known.Properties)), ", ")))
		}
		if bytes.Equal(bytes.TrimSpace(p[name]), []byte("null")) {
			continue
		}
		if want := p.mismatch(name, wanted); want != "" {
			return fault.InvalidInput(fmt.Sprintf("Parameter %s is %s, want %s.", name, p[name], want))
		}
	}
	return nil
}

// mismatch returns what a parameter should be, "" if its value fits.
func (p Parameters) mismatch(name string, wanted property) string {
	text, scalar := p.String(name)
	switch {
	case wanted.Type == "object" || wanted.Type == "array":
		return ""
	case !scalar:
		return "a " + wanted.Type
	case len(wanted.Enum) > 0 && !slices.Contains(wanted.Enum, text):
		return "one of " + strings.Join(wanted.Enum, ", ")
	}
	switch wanted.Type {
	case "boolean":
		if _, ok := p.Bool(name); !ok {
			return "a boolean"
		}
	case "integer":
		if _, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err != nil {
			return "an integer"
		}
	case "number":
		if _, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err != nil {
			return "a number"
		}
	}
	return ""
}
