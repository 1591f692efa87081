// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
)

// BenchmarkDurableProtect protects one resource without hooks, 16 at a time, with
// journal and operation log in one database and the bank in memory.
func BenchmarkDurableProtect(b *testing.B) {
	for _, store := range []struct {
		name string
		url  func(b *testing.B) string
	}{
		{"memory", func(b *testing.B) string {
			dir, err := os.MkdirTemp("/dev/shm", "karbor")
			if err != nil {
				b.Skip(err)
			}
			b.Cleanup(func() { _ = os.RemoveAll(dir) })
			return "sqlite:///" + filepath.Join(dir, "karbor.sqlite")
		}},
		{"disk", func(b *testing.B) string { return "sqlite:///" + filepath.Join(b.TempDir(), "karbor.sqlite") }},
		{"MariaDB", scratchMariaDB},
	} {
		b.Run(store.name, func(b *testing.B) { durableProtects(b, store.url(b)) })
	}
}

func durableProtects(b *testing.B, url string) {
	db, err := database.Open(b.Context(), url, database.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	j := journal.Open(db, journal.Options{})
	b.Cleanup(func() { _ = j.Close() })
	if err := db.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := j.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	e := setup(b, hookPlugin{}, nil, func(c *Config) { c.Journal, c.Records = j, db })
	plan := planOf(volumes(1)...)
	cpu := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	b.ResetTimer()
	before := cpu()
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if _, err := e.engine.Protect(e.ctx, Message{}, e.provider, plan, nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	e.engine.alive.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "protects/s")
}
