// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

func volumes(count int) []resource.Resource {
	var list []resource.Resource
	for i := range count {
		list = append(list, resource.Resource{Type: resource.Volume, ID: fmt.Sprint("volume-", i), Name: "v"})
	}
	return list
}

// BenchmarkProtect protects resources without hooks into a bank in memory, to
// the end of the operation: what is left is the engine's own cost.
func BenchmarkProtect(b *testing.B) {
	for _, count := range []int{1, 50, 1000} {
		b.Run(fmt.Sprintf("resources=%d", count), func(b *testing.B) {
			e := setup(b, hookPlugin{}, nil)
			plan := planOf(volumes(count)...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.engine.Protect(e.ctx, Message{}, e.provider, plan, nil); err != nil {
					b.Fatal(err)
				}
				e.finish()
			}
		})
	}
}

// BenchmarkJournal is what hooks that keep state cost, for each hook, with the
// journal in memory and in databases. times is how much of the journal in memory
// that is, by the average of the same run; commits are those of marks.
func BenchmarkJournal(b *testing.B) {
	save := func(ctx context.Context, c *protection.Call) error {
		return c.SaveState(ctx, map[string]string{"backup_id": "6f2c2b8e-5b0e-4a7b-9b1d-2f8f4c1f2a10"})
	}
	plugin := hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
		return &protection.Operation{PrepareBegin: save, Main: save, Complete: save}, nil
	}}
	for _, count := range []int{1, 1000} {
		var memory float64
		for _, store := range []struct {
			name string
			open func(b *testing.B) journal.Journal
		}{
			{"memory", func(*testing.B) journal.Journal { return journaltest.NewMemory(nil) }},
			{"SQLite", func(b *testing.B) journal.Journal {
				return openJournal(b, "sqlite:///"+filepath.Join(b.TempDir(), "karbor.sqlite"))
			}},
			{"MariaDB", func(b *testing.B) journal.Journal { return openJournal(b, scratchMariaDB(b)) }},
		} {
			b.Run(fmt.Sprintf("resources=%d/%s", count, store.name), func(b *testing.B) {
				j := store.open(b)
				e := setup(b, plugin, nil, func(c *Config) { c.Journal = j })
				plan := planOf(volumes(count)...)
				for b.Loop() {
					if _, err := e.engine.Protect(e.ctx, Message{}, e.provider, plan, nil); err != nil {
						b.Fatal(err)
					}
					e.engine.alive.Wait() // no poll in between
				}
				hook := float64(b.Elapsed()) / float64(b.N*count*3)
				b.ReportMetric(hook/1e3, "us/hook")
				if store.name == "memory" {
					memory = hook
				}
				b.ReportMetric(hook/memory, "times")
				if sql, ok := j.(*journal.SQL); ok {
					b.ReportMetric(float64(sql.Stats().Commits)/float64(b.N*count*3), "commits/hook")
				}
			})
		}
	}
}

// BenchmarkWaiting is what an operation takes in memory while its hook waits.
func BenchmarkWaiting(b *testing.B) {
	const count = 2000
	for b.Loop() {
		var waiting atomic.Int64
		all, goOn := make(chan struct{}), make(chan struct{})
		plugin := hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
			return &protection.Operation{Main: func(context.Context, *protection.Call) error {
				if waiting.Add(1) == count {
					close(all)
				}
				<-goOn
				return nil
			}}, nil
		}}
		e := setup(b, plugin, nil, func(c *Config) { c.Journal = openJournal(b, "sqlite:///"+filepath.Join(b.TempDir(), "karbor.sqlite")) })
		before := memory()
		for range count {
			if _, err := e.engine.Protect(e.ctx, Message{}, e.provider, planOf(volume), nil); err != nil {
				b.Fatal(err)
			}
		}
		<-all
		after := memory()
		each := func(n uint64, old uint64) float64 { return (float64(n) - float64(old)) / count }
		b.ReportMetric(each(after.HeapAlloc, before.HeapAlloc), "heap-B/each")
		b.ReportMetric(each(after.StackInuse, before.StackInuse), "stack-B/each")
		close(goOn)
		e.finish()
	}
}

func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}

func openJournal(b *testing.B, url string) journal.Journal {
	b.Helper()
	db, err := database.Open(b.Context(), url, database.Options{MaxConns: 10})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	j := journal.Open(db, journal.Options{})
	b.Cleanup(func() { _ = j.Close() })
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := j.Sync(ctx); err != nil {
		b.Fatal(err)
	}
	return j
}

// scratchMariaDB makes a database on the test server and returns its URL.
func scratchMariaDB(b *testing.B) string {
	b.Helper()
	text := os.Getenv("KARBOR_TEST_MYSQL")
	if text == "" {
		b.Skip("KARBOR_TEST_MYSQL, the URL of a database to test with, is not set")
	}
	u, err := url.Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = u.User.Username(), "tcp", u.Host, strings.Trim(u.Path, "/")
	c.Passwd, _ = u.User.Password()
	server, err := sql.Open("mysql", c.FormatDSN())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	u.Path = "/operation_" + strings.ReplaceAll(newID(), "-", "")
	if _, err := server.ExecContext(b.Context(), "CREATE DATABASE "+u.Path[1:]); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = server.Exec("DROP DATABASE " + u.Path[1:]) })
	return u.String()
}
