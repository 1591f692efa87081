// SPDX-License-Identifier: Apache-2.0

package filesystem_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/guard"
)

func newStore(t *testing.T, path string) bank.Plugin {
	t.Helper()
	p, err := filesystem.New(filesystem.Config{Path: path, Container: "karbor"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func put(t *testing.T, p bank.Plugin, key, body string) error {
	t.Helper()
	return p.Put(t.Context(), key, bank.Upload{Open: bank.Bytes([]byte(body)), Size: int64(len(body))})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	banktest.Run(t, func(t *testing.T) bank.Plugin { return newStore(t, t.TempDir()) })
}

// files lists the files and directories below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	found := []string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if path != dir {
			relative, _ := filepath.Rel(dir, path)
			found = append(found, relative)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newStore(t, dir)
	for _, key := range []string{"/a/b/c@d", "/a/e"} {
		if err := put(t, p, key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"karbor", "karbor/#bank", "karbor/#incoming", "karbor/a", "karbor/a/b", "karbor/a/b/c@d", "karbor/a/e"}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("after two puts (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "karbor/a/b/c@d"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of an object: %v %v", info.Mode(), err)
	}

	keys, err := p.List(t.Context(), bank.ListOptions{Prefix: "/"})
	if diff := cmp.Diff([]string{"/a/b/c@d", "/a/e"}, keys); diff != "" || err != nil {
		t.Errorf("listing of all (-want +got):\n%s%v", diff, err)
	}
	for _, key := range []string{"/a/b/c@d", "/a/e"} {
		if err := p.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"karbor", "karbor/#bank", "karbor/#incoming"}, files(t, dir)); diff != "" {
		t.Errorf("after the deletions (-want +got):\n%s", diff)
	}
}

func TestDotsAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newStore(t, dir)
	for _, key := range []string{"/../secret", "/a/../../secret", "/b..c"} {
		want := "The path(" + key + ") is invalid."
		_, getErr := p.Get(t.Context(), key)
		_, listErr := p.List(t.Context(), bank.ListOptions{Prefix: key + "/"})
		for name, err := range map[string]error{
			"get": getErr, "put": put(t, p, key, ""), "delete": p.Delete(t.Context(), key),
		} {
			if err == nil || err.Error() != want {
				t.Errorf("%s %s gives %v, want %s", name, key, err, want)
			}
		}
		if listErr == nil {
			t.Errorf("list %s gives no error", key)
		}
	}
}

func TestMissingObjectHasTheTextOfTheOriginal(t *testing.T) {
	t.Parallel()
	section, err := bank.New(newStore(t, t.TempDir()), nil).Section("/checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	_, err = section.GetText(t.Context(), "x/index.json")
	want := "Get Object /checkpoints/x/index.json in Bank Failed: Object is not a file"
	if err == nil || err.Error() != want || !errors.Is(err, bank.ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// A bank that was never written to, or whose file system is not mounted, is
// empty and is not made by a reader.
func TestReadingMakesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "absent")
	keys, err := newStore(t, dir).List(t.Context(), bank.ListOptions{Prefix: "/indices/"})
	if err != nil || len(keys) != 0 {
		t.Errorf("listing gives %q, %v", keys, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
}

// A process is stopped in the instant after it has asked whether it may write, for
// so long that another takes over its work and writes. Awake, it stores nothing.
func TestSleeperInTheLastInstant(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"in a directory": "/a/b", "without one": "/new/b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			sleeper, taker := newStore(t, dir), newStore(t, dir)
			if err := put(t, taker, "/a/a", "neighbour"); err != nil {
				t.Fatal(err)
			}
			asked, questions := 0, 0
			answer := func() error { return nil }
			ctx := guard.With(bank.WithWork(t.Context(), "work"), func() error {
				asked++
				return answer()
			})
			upload := func() bank.Upload { return bank.Upload{Open: bank.Bytes([]byte("late")), Size: 4} }
			if err := sleeper.Put(ctx, key, upload()); err != nil {
				t.Fatal(err)
			}
			questions, asked = asked, 0
			if err := taker.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			answer = func() error {
				if asked < questions {
					return nil
				}
				if asked > questions {
					return errors.New("it is another's")
				}
				return errors.Join(taker.Disown(t.Context(), "work"), put(t, taker, key, "taken over"))
			}
			err := sleeper.Put(ctx, key, upload())
			if err == nil {
				t.Error("the sleeper believes that it has written")
			}
			if text, readErr := os.ReadFile(filepath.Join(dir, "karbor", key)); string(text) != "taken over" {
				t.Errorf("the object holds %q, %v, after %v", text, readErr, err)
			}
			if left := files(t, filepath.Join(dir, "karbor", "#incoming")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestHalfWrittenFilesAreRemovedInTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	incoming := filepath.Join(dir, "karbor", "#incoming")
	if err := os.MkdirAll(incoming, 0o755); err != nil {
		t.Fatal(err)
	}
	old, recent := filepath.Join(incoming, "1"), filepath.Join(incoming, "2")
	for _, path := range []string{old, recent} {
		if err := os.WriteFile(path, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-72 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if err := put(t, newStore(t, dir), "/a", "x"); err != nil {
		t.Fatal(err)
	}
	want := []string{"karbor", "karbor/#bank", "karbor/#incoming", "karbor/#incoming/2", "karbor/a"}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCancelledListingStops(t *testing.T) {
	t.Parallel()
	p := newStore(t, t.TempDir())
	if err := put(t, p, "/a/b", ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if keys, err := p.List(ctx, bank.ListOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("listing gives %q, %v", keys, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, cfg := range []filesystem.Config{
		{Container: "karbor"}, {Path: "/x"}, {Path: "/x", Container: "../y"}, {Path: "/x", Container: "/y"},
	} {
		if _, err := filesystem.New(cfg, nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
