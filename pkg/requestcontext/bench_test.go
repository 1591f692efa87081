// SPDX-License-Identifier: Apache-2.0

package requestcontext

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// BenchmarkDecode reads what every call carries.
func BenchmarkDecode(b *testing.B) {
	c := RequestContext{UserID: strings.Repeat("a", 32), ProjectID: strings.Repeat("b", 32), Roles: []string{"member", "reader"},
		RequestID: NewRequestID(), AuthToken: strings.Repeat("t", 200)}
	sent := map[string]json.RawMessage{}
	for name, value := range c.Encode(time.Unix(0, 0)) {
		text, err := json.Marshal(value)
		if err != nil {
			b.Fatal(err)
		}
		sent[name] = text
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(sent); err != nil {
			b.Fatal(err)
		}
	}
}
