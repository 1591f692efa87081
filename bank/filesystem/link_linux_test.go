// SPDX-License-Identifier: Apache-2.0

package filesystem_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/filesystem"
)

// outsideText is what the files hold that are beside the bank and look like parts of it.
const outsideText = "of nobody in the bank"

// linkWorld is a bank in which one name is a symbolic link to its like outside.
func linkWorld(t *testing.T, linked string) (p bank.Plugin, root, outside string) {
	t.Helper()
	dir := t.TempDir()
	root, outside = filepath.Join(dir, "karbor"), filepath.Join(dir, "outside")
	p = newStore(t, dir)
	must(t, put(t, p, "/s/a/b/c", "own"))
	must(t, put(t, p, "/s/z", "own"))
	target := filepath.Join(outside, linked)
	must(t, os.MkdirAll(filepath.Dir(target), 0o700))
	must(t, os.Rename(filepath.Join(root, linked), target))
	err := filepath.WalkDir(target, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			err = os.WriteFile(path, []byte(outsideText), 0o600)
		}
		return err
	})
	must(t, err)
	must(t, os.Symlink(target, filepath.Join(root, linked)))
	return p, root, outside
}

// snapshot is all that is below a directory.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range files(t, dir) {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		fmt.Fprintf(&all, "%s=%s\n", name, text)
	}
	return all.String()
}

// A link at any place in the bank leads nowhere: what is behind it is not read, listed,
// written or removed, not even when it is in the bank itself.
func TestLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, linked := range []string{"s", "s/a", "s/a/b", "s/a/b/c", "#incoming"} {
		t.Run(linked, func(t *testing.T) {
			t.Parallel()
			p, _, outside := linkWorld(t, linked)
			before := snapshot(t, outside)
			if o, err := p.Get(t.Context(), "/s/a/b/c"); linked != "#incoming" && err == nil {
				text, _ := io.ReadAll(o.Body)
				t.Errorf("get gives %q", text)
			} else if linked != "#incoming" && errors.Is(err, bank.ErrNotFound) {
				t.Errorf("get gives %v, as if there were nothing", err)
			}
			for _, prefix := range []string{"/s/", "/s/a/", "/s/a/b/", "/"} {
				keys, err := p.List(t.Context(), bank.ListOptions{Prefix: prefix})
				for _, key := range keys {
					if strings.HasPrefix(key, "/"+linked+"/") {
						t.Errorf("list %s has %s, %v", prefix, key, err)
					}
				}
				if err == nil && strings.HasPrefix(prefix, "/"+linked+"/") {
					t.Errorf("list %s gives no error", prefix)
				}
			}
			for _, key := range []string{"/s/a/b/c", "/s/a/b/new", "/s/a/new/new"} {
				_ = put(t, p, key, "written")
				_ = p.Delete(t.Context(), key)
			}
			_ = p.Disown(t.Context(), "")
			_ = put(t, newStore(t, filepath.Dir(outside)), "/s/y", "sweep")
			if after := snapshot(t, outside); after != before {
				t.Errorf("outside of the bank\n%sbecame\n%s", before, after)
			}
		})
	}
}

// The operator may keep the bank elsewhere: its root may be a link.
func TestRootMayBeALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "elsewhere"), 0o700))
	must(t, os.Symlink("elsewhere", filepath.Join(dir, "karbor")))
	p := newStore(t, dir)
	must(t, put(t, p, "/s/a", "x"))
	if keys, err := p.List(t.Context(), bank.ListOptions{Prefix: "/s/"}); err != nil || len(keys) != 1 {
		t.Errorf("listing gives %q, %v", keys, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "elsewhere/s/a")); err != nil || string(text) != "x" {
		t.Errorf("the object holds %q, %v", text, err)
	}
	must(t, p.Delete(t.Context(), "/s/a"))
}

// Somebody swaps a directory for a link to its like outside and back, as often as he can,
// while the bank is at work. Each operation has what is in the bank, or fails.
func TestLinksSwappedInTheMidst(t *testing.T) {
	t.Parallel()
	for _, swapped := range []string{"s", "s/a", "s/a/b", "s/a/b/c"} {
		t.Run(swapped, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root, outside, link := filepath.Join(dir, "karbor"), filepath.Join(dir, "outside"), filepath.Join(dir, "link")
			must(t, os.MkdirAll(filepath.Join(outside, "s/a/b"), 0o700))
			must(t, os.WriteFile(filepath.Join(outside, "s/a/b/c"), []byte(outsideText), 0o600))
			must(t, os.WriteFile(filepath.Join(outside, "s/a/b/secret"), []byte(outsideText), 0o600))
			must(t, os.Symlink(filepath.Join(outside, swapped), link))
			p := newStore(t, dir)
			must(t, put(t, p, "/s/a/b/c", "own"))
			before := snapshot(t, outside)
			stop := make(chan struct{})
			var swapping sync.WaitGroup
			swapping.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, swapped), unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
					}
				}
			})
			for i := range 2000 {
				if o, err := p.Get(t.Context(), "/s/a/b/c"); err == nil {
					text, err := io.ReadAll(o.Body)
					o.Body.Close()
					if err == nil && bytes.Equal(text, []byte(outsideText)) {
						t.Fatalf("get %d read what is outside", i)
					}
				}
				keys, _ := p.List(t.Context(), bank.ListOptions{Prefix: "/s/"})
				for _, key := range keys {
					if strings.HasSuffix(key, "/secret") {
						t.Fatalf("listing %d has %q", i, keys)
					}
				}
				if i%20 == 0 {
					_ = put(t, p, "/s/a/b/new", "new")
					_ = p.Delete(t.Context(), "/s/a/b/secret")
				}
			}
			close(stop)
			swapping.Wait()
			if info, err := os.Lstat(link); err == nil && info.Mode()&os.ModeSymlink == 0 { // the bank's own is there now
				must(t, unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, swapped), unix.AT_FDCWD, link, unix.RENAME_EXCHANGE))
			}
			if after := snapshot(t, outside); after != before {
				t.Errorf("outside of the bank\n%sbecame\n%s", before, after)
			}
		})
	}
}

// Files and directories have the mode of the option, whatever the umask is, and those of
// an existing bank keep theirs.
func TestModes(t *testing.T) {
	t.Parallel()
	for mode, folders := range map[os.FileMode]os.FileMode{0: 0o700, 0o600: 0o700, 0o640: 0o750, 0o660: 0o770, 0o644: 0o755} {
		dir := t.TempDir()
		old := filepath.Join(dir, "karbor/s/old")
		must(t, os.MkdirAll(filepath.Dir(old), 0o755))
		must(t, os.WriteFile(old, []byte("x"), 0o644))
		must(t, os.Chmod(filepath.Dir(old), 0o755)) //nolint:gosec // of the original
		must(t, os.Chmod(old, 0o644))               //nolint:gosec // of the original
		p, err := filesystem.New(filesystem.Config{Path: dir, Container: "karbor", Mode: mode}, nil)
		must(t, err)
		must(t, put(t, p, "/s/a/b", "x"))
		if mode == 0 {
			mode = 0o600
		}
		for name, want := range map[string]os.FileMode{"s/a/b": mode, "s/a": folders, "#incoming": folders, "s": 0o755, "s/old": 0o644} {
			info, err := os.Stat(filepath.Join(dir, "karbor", name))
			must(t, err)
			if info.Mode().Perm() != want {
				t.Errorf("mode %04o: %s has %04o, want %04o", mode, name, info.Mode().Perm(), want)
			}
		}
	}
	for _, mode := range []os.FileMode{0o400, 0o200, 0o700, 0o601, os.ModeSetuid | 0o600} {
		if _, err := filesystem.New(filesystem.Config{Path: t.TempDir(), Container: "karbor", Mode: mode}, nil); err == nil {
			t.Errorf("mode %v is taken", mode)
		}
	}
}

// Nothing but a regular file is an object, and nothing waits for another to write into it.
func TestOnlyRegularFiles(t *testing.T) {
	t.Parallel()
	for name, special := range map[string]uint32{"pipe": syscall.S_IFIFO, "socket": syscall.S_IFSOCK} {
		dir := t.TempDir()
		p := newStore(t, dir)
		must(t, put(t, p, "/s/a", "x"))
		must(t, os.Remove(filepath.Join(dir, "karbor/s/a")))
		must(t, syscall.Mknod(filepath.Join(dir, "karbor/s/a"), special|0o600, 0))
		if _, err := p.Get(t.Context(), "/s/a"); !errors.Is(err, bank.ErrUnusable) {
			t.Errorf("get of a %s gives %v", name, err)
		}
		must(t, put(t, p, "/s/a", "y"))
		if _, err := p.Get(t.Context(), "/s/a"); err != nil {
			t.Errorf("a %s is not replaced: %v", name, err)
		}
	}
}
