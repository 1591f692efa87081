// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// FuzzIndex reads any bytes as index.json. What is read must be written
// without loss: once in Python's style, the text stays the same.
func FuzzIndex(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"version": "0.9", "id": "a", "status": "error", "owner_id": null, "provider_id": "p", "project_id": "q",
		"protection_plan": {"id": "x", "name": "\ud800", "provider_id": "p", "resources": [{"id": 1}]},
		"extra_info": {}, "created_at": "2026-11-22", "timestamp": 1, "resource_graph": null, "a": 1e400, "a": -0}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parseDocument(text)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil || !maps.EqualFunc(d.values, want, slices.Equal) {
			t.Fatalf("%q is read as %q, want %q, %v", text, d.values, want, err)
		}
		if fields, err := d.fields(); err == nil {
			_ = fields.plan.text()
		}
		written, err := pyjson.Append(nil, d.text())
		if err != nil {
			t.Fatalf("%q is written as %q: %v", text, d.text(), err)
		}
		again, err := parseDocument(written)
		if err != nil || len(again.keys) != len(d.keys) {
			t.Fatalf("%q is written as %q: %v", text, written, err)
		}
		rewritten, err := pyjson.Append(nil, again.text())
		if err != nil || !bytes.Equal(written, rewritten) {
			t.Fatalf("%q is written as %q, then as %q", text, written, rewritten)
		}
	})
}
