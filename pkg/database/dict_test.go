// SPDX-License-Identifier: Apache-2.0

package database

import "testing"

func TestMergeColumn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		text    string
		entries map[string]string
		want    string
	}{
		{"empty", "", map[string]string{"b": "1", "a": ""}, `{"a": "", "b": "1"}`},
		{"null", "null", map[string]string{"a": "1"}, `{"a": "1"}`},
		{"old keys keep their place", `{"z":"1","a":"2"}`, map[string]string{"m": "3", "z": "4"}, `{"z": "4", "a": "2", "m": "3"}`},
		{"other values stay", `{"a": null, "b": [1.50]}`, map[string]string{"c": "é"}, `{"a": null, "b": [1.5], "c": "\u00e9"}`},
		{"a repeated key is one", `{"a": "1", "a": "2"}`, nil, `{"a": "2"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mergeColumn("c", tt.text, tt.entries)
			if err != nil || got != tt.want {
				t.Errorf("merged %s (%v), want %s", got, err, tt.want)
			}
		})
	}
	for _, text := range []string{"[]", "{", `{"a"}`, "x", `"a"`} {
		if got, err := mergeColumn("c", text, nil); err == nil {
			t.Errorf("%s gives %s, want an error", text, got)
		}
	}
}
