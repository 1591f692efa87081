// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// restores is a plugin whose restored resources have new ids.
var restores = hookPlugin{func(kind protection.Kind, _ resource.Resource) (*protection.Operation, error) {
	if kind != protection.Restore {
		return nil, nil
	}
	return &protection.Operation{Main: func(_ context.Context, c *protection.Call) error {
		c.NewResources.Set(c.Resource.ID, "new-"+c.Resource.ID)
		return nil
	}, Complete: func(context.Context, *protection.Call) error { return nil }}, nil
}}

// restoreOf returns what restores a checkpoint of so many resources, to the end.
func restoreOf(t testing.TB, count int) func() {
	b := setup(t, restores, nil)
	id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volumes(count)...), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.finish()
	cp, err := b.provider.Checkpoints.Get(b.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	b.records.restores["r"] = database.Record{ID: "r"}
	return func() {
		if err := b.engine.Restore(b.ctx, Message{}, b.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
			t.Fatal(err)
		}
		b.engine.alive.Wait()
	}
}

// A restore allocates in proportion to its resources. It must not run beside others.
func TestRestoreIsLinear(t *testing.T) {
	allocated := func(count int) float64 {
		restore := restoreOf(t, count)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		restore()
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc-before.TotalAlloc) / float64(count)
	}
	small, large := allocated(200), allocated(3200)
	if large > 2*small {
		t.Errorf("a resource among 3200 takes %.0f bytes, among 200 %.0f", large, small)
	}
}

// BenchmarkRestore is what a resource costs among many. times is how much of that
// among a hundred it is, by the same run.
func BenchmarkRestore(b *testing.B) {
	var few float64
	for _, count := range []int{100, 1000, 8000} {
		b.Run(fmt.Sprintf("resources=%d", count), func(b *testing.B) {
			restore := restoreOf(b, count)
			b.ReportAllocs()
			for b.Loop() {
				restore()
			}
			each := float64(b.Elapsed()) / float64(b.N*count)
			if count == 100 {
				few = each
			}
			b.ReportMetric(each/1e3, "us/resource")
			b.ReportMetric(each/few, "times")
		})
	}
}
