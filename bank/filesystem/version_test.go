// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/bank"
)

// Whatever tells that a file is another one, or was changed, changes its version. One that was
// changed a moment ago, or in the future by the clock of its file system, has none: another
// change within a step of its times would leave no trace.
func TestVersion(t *testing.T) {
	t.Parallel()
	at := func(age time.Duration) unix.Timespec { return unix.NsecToTimespec(time.Now().Add(-age).UnixNano()) }
	old, older := at(time.Hour), at(2*time.Hour)
	file := unix.Stat_t{Dev: 1, Ino: 2, Size: 3, Mtim: old, Ctim: old}
	s := &store{settled: settled}
	was := s.version(&file)
	if was == "" || s.version(&file) != was {
		t.Errorf("a file that nobody changes has the versions %q and %q", was, s.version(&file))
	}
	for name, change := range map[string]func(*unix.Stat_t){
		"device": func(f *unix.Stat_t) { f.Dev++ }, "inode": func(f *unix.Stat_t) { f.Ino++ }, "size": func(f *unix.Stat_t) { f.Size++ },
		"mtime": func(f *unix.Stat_t) { f.Mtim = older }, "ctime": func(f *unix.Stat_t) { f.Ctim = older },
	} {
		changed := file
		if change(&changed); s.version(&changed) == was {
			t.Errorf("%s does not change the version", name)
		}
	}
	for _, age := range []time.Duration{0, settled - 3*time.Second, -time.Hour} {
		young := file
		if young.Ctim = at(age); s.version(&young) != "" {
			t.Errorf("a file that was changed %s ago has the version %q", age, s.version(&young))
		}
	}
}

// The folders that the original leaves where objects were deleted are nothing in a listing,
// rolled up or not.
func TestEmptyFoldersAreNotListed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	p, err := New(Config{Path: root, Container: "c"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"a/resource-data/1", "b/resource-data/1", "b/resource-data/2"} {
		if err := os.MkdirAll(filepath.Join(root, "c/checkpoints", folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "c/checkpoints/b/resource-data/2/x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := p.List(t.Context(), bank.ListOptions{Prefix: "/checkpoints/", Delimiter: "r"})
	if err != nil || !slices.Equal(keys, []string{"/checkpoints/b/r"}) {
		t.Errorf("listed %q, %v", keys, err)
	}
}
