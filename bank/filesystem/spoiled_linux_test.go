// SPDX-License-Identifier: Apache-2.0

package filesystem_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/filesystem"
)

// nobody is a user without rights.
const nobody = 65534

// asNobody gives the goroutine's thread, until undo, the file rights of a user to
// whom modes apply: root may read everything.
func asNobody(t *testing.T) (undo func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		return func() {}
	}
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(nobody); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := unix.SetfsuidRetUid(0); err == nil { // else the thread ends with the goroutine
			runtime.UnlockOSThread()
		}
	}
}

// open lets everybody into a directory and those above it.
func open(t *testing.T, path string) {
	t.Helper()
	for dir := path; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o777)) //nolint:gosec // of a test
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replaced moves what is at path away and puts something else there.
func replaced(t *testing.T, path string, with func(path string) error) (undo func()) {
	t.Helper()
	aside := path + ".aside"
	must(t, os.Rename(path, aside))
	must(t, with(path))
	return func() {
		must(t, os.RemoveAll(path))
		must(t, os.Rename(aside, path))
	}
}

func TestSpoiledConformance(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "karbor")
	file := func(key string) string { return filepath.Join(root, key) }

	instead := func(with func(path string) error) banktest.Spoil {
		return func(t *testing.T, key string) func() {
			must(t, os.Remove(file(key)))
			must(t, with(file(key)))
			return nil
		}
	}
	link := func(target string) func(string) error {
		return func(path string) error { return os.Symlink(target, path) }
	}
	mode := func(of func(path string) string, mode os.FileMode) banktest.Spoil {
		return func(t *testing.T, key string) func() {
			for _, name := range []string{"a", "b", "c"} {
				open(t, filepath.Join(filepath.Dir(filepath.Dir(file(key))), name))
			}
			must(t, os.Chmod(of(file(key)), mode))
			undo := asNobody(t)
			return func() {
				undo()
				_ = os.Chmod(filepath.Dir(file(key)), 0o777) //nolint:gosec // it may be gone
			}
		}
	}
	itself := func(path string) string { return path }
	spoils := map[string]banktest.Spoil{
		"mode of the file":      mode(itself, 0),
		"mode of its folder":    mode(filepath.Dir, 0),
		"folder without search": mode(filepath.Dir, 0o644),
		"directory":             instead(func(path string) error { return os.Mkdir(path, 0o755) }),
		"directory with a file": instead(func(path string) error { return os.MkdirAll(path+"/x", 0o755) }),
		"loop":                  instead(func(path string) error { return os.Symlink(path, path) }),
		"link to nothing":       instead(link("/nonexistent/x")),
		"link to a directory":   instead(link("/")),
		"link to a device":      instead(link("/dev/zero")),
		"read error":            instead(link("/proc/self/mem")),
		"pipe":                  instead(func(path string) error { return syscall.Mkfifo(path, 0o644) }),
		"link to a pipe": instead(func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".pipe", 0o644), os.Symlink(path+".pipe", path))
		}),
		"socket": instead(func(path string) error {
			// The path of a socket is short.
			short, err := os.MkdirTemp("", "s")
			if err != nil {
				return err
			}
			defer os.RemoveAll(short)
			listener, err := net.Listen("unix", short+"/s")
			if err != nil {
				return err
			}
			listener.(*net.UnixListener).SetUnlinkOnClose(false)
			return errors.Join(listener.Close(), os.Rename(short+"/s", path))
		}),
		"folder is a loop": func(t *testing.T, key string) func() {
			return replaced(t, filepath.Dir(file(key)), func(path string) error { return os.Symlink(path, path) })
		},
		"folder is a link to nothing": func(t *testing.T, key string) func() {
			return replaced(t, filepath.Dir(file(key)), link("/nonexistent/x"))
		},
	}

	whole := func(part string, with func(path string) error) banktest.Break {
		return func(t *testing.T, _ bank.Plugin) func() { return replaced(t, file(part), with) }
	}
	locked := func(part string, mode os.FileMode) banktest.Break {
		return func(t *testing.T, _ bank.Plugin) func() {
			open(t, file(part))
			must(t, os.Chmod(file(part), mode))
			undo := asNobody(t)
			return func() {
				undo()
				open(t, file(part))
			}
		}
	}
	aFile := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	aLoop := func(path string) error { return os.Symlink(path, path) }
	nothing := func(string) error { return nil }
	outages := map[string]banktest.Break{
		"container not mounted":  whole("", nothing),
		"container is a file":    whole("", aFile),
		"container is a loop":    whole("", aLoop),
		"container has mode 0":   locked("", 0),
		"section is a file":      whole("banktest", aFile),
		"section is a loop":      whole("banktest", aLoop),
		"section has mode 0":     locked("banktest", 0),
		"section without search": locked("banktest", 0o644),
	}
	everybody, err := filesystem.New(filesystem.Config{Path: dir, Container: "karbor", Mode: 0o644}, nil)
	must(t, err)
	banktest.Run(t, func(*testing.T) bank.Plugin { return everybody },
		banktest.Many(100), banktest.Spoils(spoils), banktest.Breaks(outages))
}

// A folder that cannot be read is missing in the listing, which says so, with any
// options; names that no key has are not even looked at.
func TestPartialListing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newStore(t, dir)
	for _, key := range []string{"/s/a/1", "/s/a/2", "/s/b/1", "/s/c/1"} {
		must(t, put(t, p, key, "x"))
	}
	strange := filepath.Join(dir, "karbor/s/lost+found")
	must(t, os.Mkdir(strange, 0o700))
	open(t, filepath.Join(dir, "karbor/s"))
	for _, name := range []string{"a", "b", "c"} {
		open(t, filepath.Join(dir, "karbor/s", name))
	}
	must(t, os.Chmod(filepath.Join(dir, "karbor/s/b"), 0))
	defer open(t, filepath.Join(dir, "karbor/s/b"))
	defer asNobody(t)()
	for _, c := range []struct {
		options bank.ListOptions
		want    []string
		partial bool
	}{
		{bank.ListOptions{}, []string{"/s/a/1", "/s/a/2", "/s/c/1"}, true},
		{bank.ListOptions{Descending: true}, []string{"/s/c/1", "/s/a/2", "/s/a/1"}, true},
		{bank.ListOptions{Limit: 2}, []string{"/s/a/1", "/s/a/2"}, false},
		{bank.ListOptions{Limit: 1, Marker: "/s/a/2"}, []string{"/s/c/1"}, true},
		{bank.ListOptions{Marker: "/s/c"}, []string{"/s/c/1"}, false},
	} {
		c.options.Prefix = "/s/"
		keys, err := p.List(t.Context(), c.options)
		if !slices.Equal(keys, c.want) || errors.As(err, new(*bank.PartialError)) != c.partial || !c.partial && err != nil {
			t.Errorf("%+v: %q, %v", c.options, keys, err)
		}
	}
	keys, err := p.List(t.Context(), bank.ListOptions{Prefix: "/s/b/"})
	if err == nil || errors.As(err, new(*bank.PartialError)) || len(keys) != 0 {
		t.Errorf("the folder itself: %q, %v", keys, err)
	}
}

// A bank that has been there and is gone was unmounted: it is not a new one, to be
// made on the disk below.
func TestUnmountedBankIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, err := filesystem.New(filesystem.Config{Path: dir, Container: "karbor"}, nil)
	must(t, err)
	must(t, put(t, p, "/s/a", "x"))
	must(t, os.Rename(filepath.Join(dir, "karbor"), filepath.Join(dir, "away")))
	if err := put(t, p, "/s/b", "x"); err == nil {
		t.Error("the bank was made anew")
	}
	must(t, os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "karbor")))
	must(t, put(t, p, "/s/b", "x"))
}
