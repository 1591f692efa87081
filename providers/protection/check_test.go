// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/fault"
)

const checkedSchema = `{"title": "t", "type": "object", "properties": {
	"name": {"type": "string", "default": null},
	"mode": {"type": "string", "enum": ["full", "incremental"]},
	"force": {"type": "boolean"},
	"count": {"type": "integer"},
	"ratio": {"type": "number"},
	"more": {"type": "object"}
}, "required": ["absent"]}`

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		`{}`,
		`{"name": "n", "mode": "full", "force": true, "count": 1, "ratio": 0.5, "more": {}}`,
		`{"name": "", "mode": "incremental", "force": "True", "count": "1", "ratio": "1e3"}`,
		`{"name": null, "mode": null, "force": null, "count": null}`,
		`{"name": 5, "force": "1"}`,
		`{"force": 0}`,
	} {
		if err := parametersOf(t, good).Check(json.RawMessage(checkedSchema)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		`{"nmae": "n"}`:         `Parameter nmae is not known; known are: count, force, mode, more, name, ratio.`,
		`{"name": ["n"]}`:       `Parameter name is ["n"], want a string.`,
		`{"mode": "half"}`:      `Parameter mode is "half", want one of full, incremental.`,
		`{"force": "perhaps"}`:  `Parameter force is "perhaps", want a boolean.`,
		`{"count": "1.5"}`:      `Parameter count is "1.5", want an integer.`,
		`{"count": true}`:       `Parameter count is true, want an integer.`,
		`{"ratio": "a lot"}`:    `Parameter ratio is "a lot", want a number.`,
		`{"name": {"a": "b"} }`: `Parameter name is {"a": "b"}, want a string.`,
	} {
		err := parametersOf(t, bad).Check(json.RawMessage(checkedSchema))
		if !fault.Is(err, "InvalidInput") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", bad, err, want)
		}
	}
}

func TestCheckWithoutSchema(t *testing.T) {
	t.Parallel()
	if err := (Parameters{}).Check(nil); err != nil {
		t.Error(err)
	}
	if err := parametersOf(t, `{"a": 1}`).Check(nil); !fault.Is(err, "InvalidInput") {
		t.Errorf("got %v", err)
	}
	if err := (Parameters{}).Check(json.RawMessage(`[`)); err == nil {
		t.Error("a broken schema is taken")
	}
}

func parametersOf(t *testing.T, text string) Parameters {
	t.Helper()
	var p Parameters
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return p
}
