// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"testing"
)

func TestField(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		`{"id": "a", "plan": {"id": "b"}}`: "a",
		`[{"id": "a"}, {"id": "b"}]`:       "a",
		`[]`:                               nil,
		`{"plan": {"id": "b"}}`:            nil,
		`"text"`:                           nil,
	} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if got := field(value, "id"); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
