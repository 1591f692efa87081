// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

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

// BenchmarkList is one look of a worker at its 10,000 operations: at all of them,
// and at those that somebody asked to end.
func BenchmarkList(b *testing.B) {
	const count = 10_000
	for _, e := range engines {
		j := sync.OnceValue(func() *journal.SQL {
			j := open(b, e.url(b))
			var wg sync.WaitGroup
			var next atomic.Int64
			for range 16 {
				wg.Go(func() {
					for next.Add(1) <= count {
						id := uuid.NewString()
						if _, _, err := j.Begin(b.Context(), journal.Entry{ID: id, Kind: "protect", Subject: id, Claim: journal.Claim{Owner: "worker"}}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			return j
		})
		for name, cancelling := range map[string]bool{"all": false, "to end": true} {
			b.Run(e.name+"/"+name, func(b *testing.B) {
				j := j()
				b.ReportAllocs()
				for b.Loop() {
					if _, err := j.List(b.Context(), journal.Filter{Owner: "worker", Unfinished: true, Cancelling: cancelling}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
