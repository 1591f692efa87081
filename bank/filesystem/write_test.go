// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// File systems lack ways to move a file to a place where there is none: the next one that
// they know is taken, down to a look and a move.
func TestMoveNew(t *testing.T) {
	t.Parallel()
	unknown := func(err error) mover { return func(directory, string, directory, string) error { return err } }
	for name, ways := range map[string][]mover{
		"links":      {link},
		"no replace": {unknown(syscall.EPERM), renameNoReplace, lookAndRename},
		"neither":    {unknown(syscall.ENOTSUP), unknown(syscall.EINVAL), lookAndRename},
	} {
		root := t.TempDir()
		p, err := New(Config{Path: root, Container: "c"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := p.(*store).create("d")
		if err != nil {
			t.Fatal(err)
		}
		defer dir.close()
		for _, text := range []string{"first", "second"} {
			if err := os.WriteFile(filepath.Join(dir.path, "temp"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := moveNew(dir, "temp", dir, "object", ways...)
			if text == "first" && err != nil || text == "second" && !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s, the %s: %v", name, text, err)
			}
		}
		if text, err := os.ReadFile(filepath.Join(dir.path, "object")); string(text) != "first" || err != nil {
			t.Errorf("%s: the object holds %q, %v", name, text, err)
		}
	}
	if err := moveNew(directory{}, "a", directory{}, "b", unknown(syscall.EIO), lookAndRename); !errors.Is(err, syscall.EIO) {
		t.Errorf("a failure: %v", err)
	}
}
