// SPDX-License-Identifier: Apache-2.0

package checkpoint

import "testing"

// BenchmarkParse reads an index.json, as a listing does for each checkpoint.
func BenchmarkParse(b *testing.B) {
	text := []byte(`{"version": "0.9", "id": "a", "status": "available", "owner_id": "0a8f0f0c-7f0c-4b8b-8f53-3b8d8a2b6d57",
		"provider_id": "cf56bd3e-97a7-4078-b6d5-f36246333fd9", "project_id": "8f1f0a5e6b0b4bb4b4a4b8c5d7e3a9c1",
		"protection_plan": {"id": "p", "name": "n", "provider_id": "cf56bd3e-97a7-4078-b6d5-f36246333fd9",
		"resources": [{"id": "v", "type": "OS::Cinder::Volume", "name": "v", "extra_info": null}]},
		"extra_info": null, "created_at": "2026-01-01", "timestamp": 1767225600, "resource_graph": "[{}, []]"}`)
	b.ReportAllocs()
	for b.Loop() {
		d, err := parseDocument(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := d.fields(); err != nil {
			b.Fatal(err)
		}
	}
}
