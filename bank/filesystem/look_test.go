// SPDX-License-Identifier: Apache-2.0

package filesystem_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/resource"
)

// newLibrary has a number of checkpoints. Their files tell their versions from an age on.
func newLibrary(t testing.TB, checkpoints int, age time.Duration) (*checkpoint.Collection, string) {
	t.Helper()
	dir := t.TempDir()
	p, err := filesystem.New(filesystem.Config{Path: dir, Container: "karbor"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	filesystem.Settle(p, age)
	c := checkpoint.NewCollection(bank.New(p, nil), "provider", checkpoint.Options{})
	for range checkpoints {
		if _, err := c.Create(t.Context(), checkpoint.CreateOptions{Status: checkpoint.Available, Plan: checkpoint.Plan{
			ID: "fc1b1c8a-6c0b-4d0d-8f6b-2f1c0b8d6d3a", Name: "nightly", ProviderID: "provider", ProjectID: "project",
			Resources: []resource.Resource{{Type: resource.Server, ID: "5d0ec8f2-7f5c-4bc4-a0c8-7a6f2d0b5c11", Name: "web-1"}}}}); err != nil {
			t.Fatal(err)
		}
	}
	return c, dir + "/karbor/checkpoints/"
}

// listed is what a listing shows, one after the other.
func listed(t testing.TB, c *checkpoint.Collection) string {
	t.Helper()
	var shown strings.Builder
	if err := c.Look(t.Context(), checkpoint.ListOptions{ProjectID: "project"}, func(l *checkpoint.Listed) error {
		text, err := l.Encoded(false)
		shown.Write(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return shown.String()
}

// A listing shows each change of a file, also one within a step of the file system's clock that
// leaves its size and the time of its data as they were.
func TestLookSeesEachChange(t *testing.T) {
	t.Parallel()
	for name, age := range map[string]time.Duration{"young files": time.Minute, "old files": -time.Hour} {
		c, dir := newLibrary(t, 20, age)
		folders, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		file := dir + folders[3].Name() + "/index.json"
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, plan := range []string{"nightly", "mightly", "sightly", "nightly", "lightly"} {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			var before, after unix.Stat_t
			must(t, unix.Stat(file, &before))
			for after = before; after.Ctim == before.Ctim; {
				must(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "nightly", plan)), 0o600))
				must(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
				must(t, unix.Stat(file, &after))
				if age > 0 {
					break // within a step of the clock: these have no version
				}
			}
			for range 2 {
				if shown := listed(t, c); strings.Count(shown, `"`+plan+`"`) == 0 {
					t.Errorf("%s: a listing does not show the plan %s", name, plan)
				}
			}
		}
	}
}

// BenchmarkLook lists checkpoints, by a worker that has just been started and by one that
// has listed them before, and checks them as the janitor does.
func BenchmarkLook(b *testing.B) {
	for _, count := range []int{1000, 20_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) { benchmarkLook(b, count) })
	}
}

func benchmarkLook(b *testing.B, count int) {
	c, dir := newLibrary(b, count, 0)
	p, err := filesystem.New(filesystem.Config{Path: strings.TrimSuffix(dir, "/karbor/checkpoints/"), Container: "karbor"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, one := range []struct {
		name string
		look func()
	}{
		{"first", func() { listed(b, checkpoint.NewCollection(bank.New(p, nil), "provider", checkpoint.Options{})) }},
		{"again", func() { listed(b, c) }},
		{"check", func() {
			if err := c.Check(b.Context(), func(checkpoint.Issue) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run(one.name, func(b *testing.B) {
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			n := 0
			for b.Loop() {
				one.look()
				n++
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(used)/1e6/float64(n), "cpu-ms/op")
		})
	}
}
