// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"fmt"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
)

// BenchmarkProtect protects resources without hooks into a bank in memory, to
// the end of the operation: what is left is the engine's own cost.
func BenchmarkProtect(b *testing.B) {
	for _, count := range []int{1, 50, 1000} {
		b.Run(fmt.Sprintf("resources=%d", count), func(b *testing.B) {
			e := setup(b, hookPlugin{}, nil)
			var resources []resource.Resource
			for i := range count {
				resources = append(resources, resource.Resource{Type: resource.Volume, ID: fmt.Sprint("volume-", i), Name: "v"})
			}
			plan := planOf(resources...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.engine.Protect(e.ctx, e.provider, plan, nil); err != nil {
					b.Fatal(err)
				}
				e.finish()
			}
		})
	}
}
