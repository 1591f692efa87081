// SPDX-License-Identifier: Apache-2.0

package filesystem_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/filesystem"
)

// started is the bank of a process that has just been started on a machine.
func started(t *testing.T, dir, memory string) *bank.Bank {
	t.Helper()
	p, err := filesystem.New(filesystem.Config{Path: dir, Container: "karbor"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := bank.New(p, nil)
	b.Remember(memory)
	return b
}

// A bank that was written to is known after a restart: what is found in its place when it is
// not mounted, or when another one is, is not written to and counts as down. A folder of the
// original, a first bank and one that the configuration has moved are taken as they are.
func TestMissingMount(t *testing.T) {
	t.Parallel()
	const down = "the bank is not there, is it mounted?"
	root := func(dir string) string { return filepath.Join(dir, "karbor") }
	unmounted := func(t *testing.T, dir, _ string) { must(t, os.Rename(root(dir), dir+"/away")) }
	for name, c := range map[string]struct {
		before func(t *testing.T, dir, memory string) // the start of the second process
		want   string                                 // of the error, "" if all is well
	}{
		"as it was":              {func(*testing.T, string, string) {}, ""},
		"nothing is there":       {unmounted, down},
		"a folder below a mount": {func(t *testing.T, dir, m string) { unmounted(t, dir, m); must(t, os.Mkdir(root(dir), 0o700)) }, down},
		"another bank": {func(t *testing.T, dir, m string) {
			unmounted(t, dir, m)
			must(t, put(t, newStore(t, dir), "/s/a", "x"))
		}, "another bank is mounted"},
		"an empty marker": {func(t *testing.T, dir, _ string) { must(t, os.Truncate(root(dir)+"/#bank", 0)) }, "has no id"},
		"forgotten by the operator": {func(t *testing.T, dir, m string) {
			unmounted(t, dir, m)
			must(t, os.Remove(m))
		}, ""},
		"moved by the configuration": {func(t *testing.T, dir, m string) {
			text, err := os.ReadFile(m)
			must(t, err)
			unmounted(t, dir, m)
			must(t, os.WriteFile(m, []byte(strings.ReplaceAll(string(text), dir, "/elsewhere")), 0o600))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, memory := t.TempDir(), filepath.Join(t.TempDir(), "banks/provider")
			// The original has written here.
			must(t, os.MkdirAll(root(dir)+"/checkpoints/old", 0o700))
			must(t, os.WriteFile(root(dir)+"/checkpoints/old/index.json", []byte("{}"), 0o600))
			section := func() *bank.Section {
				s, err := started(t, dir, memory).Section("/checkpoints")
				must(t, err)
				return s
			}
			must(t, section().PutText(t.Context(), "new/index.json", "{}"))
			c.before(t, dir, memory)

			b := started(t, dir, memory)
			if c.want == "" {
				must(t, b.Probe(t.Context()))
				must(t, section().PutText(t.Context(), "third/index.json", "{}"))
				return
			}
			before := files(t, dir)
			_, readErr := section().GetText(t.Context(), "missing/index.json")
			for what, err := range map[string]error{"probe": b.Probe(t.Context()), "get": readErr,
				"put": section().PutText(t.Context(), "third/index.json", "{}")} {
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, bank.ErrNotFound) {
					t.Errorf("%s: %v, want %q", what, err, c.want)
				}
			}
			if after := files(t, dir); len(after) != len(before) {
				t.Errorf("written: %q, before %q", after, before)
			}
		})
	}
}

// Whoever is first in a new bank, in one process or in several: they agree which one it is,
// and nobody takes the bank that was not marked yet for one that is missing.
func TestOneMarker(t *testing.T) {
	t.Parallel()
	for range 100 {
		dir := t.TempDir()
		ours := newStore(t, dir)
		group, ctx := errgroup.WithContext(t.Context())
		for n := range 8 {
			group.Go(func() error { return errors.Join(put(t, ours, "/s/a", "x"), put(t, newStore(t, dir), "/s/b", "x")) })
			group.Go(func() error {
				_, err := ours.List(ctx, bank.ListOptions{Prefix: fmt.Sprint("/s", n)})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(filepath.Join(dir, "karbor/#incoming"))
		if err != nil || len(left) > 0 {
			t.Fatalf("left behind: %v, %v", left, err)
		}
	}
}
