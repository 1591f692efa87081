// SPDX-License-Identifier: Apache-2.0

package database

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

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
			got, err := mergeColumn(tt.text, tt.entries, 0)
			if err != nil || got != tt.want {
				t.Errorf("merged %s (%v), want %s", got, err, tt.want)
			}
		})
	}
	for _, text := range []string{"[]", "{", `{"a"}`, "x", `"a"`} {
		if got, err := mergeColumn(text, map[string]string{"a": "1"}, 0); err != nil || got != `{"a": "1"}` {
			t.Errorf("%s becomes %s, %v: what is no dict gives way", text, got, err)
		}
	}
}

// Whatever the resources are, the column has room for the dict, a JSON reader finds
// texts in it, every resource is there or counted, and exceptions are there.
func TestDictsFitTheirColumn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{2048, 16384}).Draw(t, "limit")
		types := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"OS::Cinder::Volume", "OS::Nova::Server", "OS::Glance::Image", "größe"}), 1, 3, rapid.ID).Draw(t, "types")
		values := rapid.SliceOfN(rapid.SampledFrom([]string{"available", "", "error", "größe", strings.Repeat("backend said no; ", 40), strings.Repeat("\U0001f4be", 900)}), 1, 4).Draw(t, "values")
		entries := map[string]string{}
		for i := range rapid.SampledFrom([]int{1, 20, 100, 300}).Draw(t, "resources") {
			value := values[i%len(values)]
			if rapid.IntRange(0, 99).Draw(t, "own") == 0 {
				value += fmt.Sprint(i)
			}
			entries[fmt.Sprintf("%s#00000000-0000-4000-8000-%012d", types[i%len(types)], i)] = value
		}
		old := rapid.SampledFrom([]string{"", `{"OS::Cinder::Volume#7 more available": "available"}`, "[", "null"}).Draw(t, "old")
		text, err := mergeColumn(old, entries, limit)
		var got map[string]string
		if err != nil || len(text) > limit || json.Unmarshal([]byte(text), &got) != nil {
			t.Fatalf("%d bytes, %v: %.200s", len(text), err, text)
		}
		total := 0
		for key, value := range got {
			if !summary.MatchString(key) {
				if want := entries[key]; value != want && !strings.HasPrefix(want, strings.TrimSuffix(value, "...")) {
					t.Fatalf("%s is %q, want %q", key, value, want)
				}
				total++
				continue
			}
			var n int
			if _, err := fmt.Sscanf(key[strings.Index(key, "#")+1:], "%d more", &n); err != nil {
				t.Fatalf("key %q: %v", key, err)
			}
			total += n
		}
		if total != len(entries) {
			t.Fatalf("%d of %d resources are told of", total, len(entries))
		}
		if again, err := mergeColumn(text, entries, limit); err != nil || len(again) != len(text) {
			t.Fatalf("written again: %d bytes, before %d, %v", len(again), len(text), err)
		}
	})
}

func TestExceptionsAreKept(t *testing.T) {
	t.Parallel()
	entries := map[string]string{}
	for i := range 1200 {
		entries[fmt.Sprintf("OS::Cinder::Volume#00000000-0000-4000-8000-%012d", i)] = "available"
	}
	for i := range 30 {
		entries[fmt.Sprintf("OS::Cinder::Volume#00000000-0000-4000-9000-%012d", i)] = "error"
	}
	text, err := mergeColumn("", entries, maxText)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text, `"error"`); n != 30 {
		t.Errorf("%d of 30 failures are named", n)
	}
	if !regexp.MustCompile(`"OS::Cinder::Volume#\d+ more available": "available"}$`).MatchString(text) {
		t.Errorf("the end is %s", text[len(text)-100:])
	}
}
