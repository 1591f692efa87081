// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/pkg/journal"
)

// BenchmarkWrite is what one durable mark costs when so many write at once.
func BenchmarkWrite(b *testing.B) {
	for _, e := range engines {
		for _, writers := range []int{1, 64, 1000} {
			b.Run(fmt.Sprintf("%s/writers=%d", e.name, writers), func(b *testing.B) {
				j := open(b, e.url(b))
				entry := begin(b, j)
				value := []byte(`{"state": "running", "backup_id": "6f2c2b8e-5b0e-4a7b-9b1d-2f8f4c1f2a10"}`)
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for w := range writers {
					key := fmt.Sprint("state/", w)
					wg.Go(func() {
						for next.Add(1) <= int64(b.N) {
							if err := j.Write(b.Context(), entry.ID, entry.Claim, journal.Mark{Key: key, Value: value}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				s := j.Stats()
				b.ReportMetric(float64(s.Commits)/float64(s.Marks), "commits/mark")
			})
		}
	}
}
