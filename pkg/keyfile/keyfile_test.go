// SPDX-License-Identifier: Apache-2.0

package keyfile_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/karbor-project/karbor/pkg/keyfile"
)

func writeKeys(t *testing.T, mode os.FileMode, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLines(t *testing.T) {
	t.Parallel()
	got, err := keyfile.Read(writeKeys(t, 0o600, "# the new one", "", " a1 \t", "b\tb2\r", "#c3", "last"))
	want := []keyfile.Line{{Number: 3, Text: "a1"}, {Number: 4, Text: "b\tb2"}, {Number: 6, Text: "last"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("lines are %v (%v)", got, err)
	}
}

// TestWhoMayReadTheKey: every mode a file can have, and a group that is not the service's.
func TestWhoMayReadTheKey(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("a1", 32)
	for mode := range os.FileMode(0o1000) {
		if mode&0o400 == 0 && os.Geteuid() != 0 {
			continue // it cannot be read at all
		}
		_, err := keyfile.Read(writeKeys(t, mode, key))
		if refused := mode&0o007 != 0; refused != (err != nil) {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "chmod") || strings.Contains(err.Error(), key)) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	foreign := 54321
	file := writeKeys(t, 0o640, key)
	if err := os.Chown(file, -1, foreign); err != nil {
		t.Skip("only root may give a file to a foreign group:", err)
	}
	if _, err := keyfile.Read(file); err == nil || !strings.Contains(err.Error(), "chgrp") {
		t.Errorf("readable to group %d: %v", foreign, err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Read(file); err != nil {
		t.Errorf("the group has no rights: %v", err)
	}
}

// TestKeyFileIsAFile: a FIFO, of which nobody is at the other end, keeps nobody waiting,
// and a device has no end.
func TestKeyFileIsAFile(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero", t.TempDir()} {
		if _, err := keyfile.Read(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := keyfile.Read(writeKeys(t, 0o600, strings.Repeat("#\n", 1<<20))); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a large file: %v", err)
	}
	target, link := writeKeys(t, 0o600, strings.Repeat("a1", 32)), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Read(link); err != nil { // as orchestrators mount secrets
		t.Error(err)
	}
}
