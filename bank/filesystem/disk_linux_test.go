// SPDX-License-Identifier: Apache-2.0

package filesystem_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
)

// A full disk is a tmpfs of 256 KiB.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	p := newStore(t, dir)
	if err := put(t, p, "/data/1", "old"); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)

	big := bank.Upload{Open: bank.Bytes(make([]byte, 1<<20)), Size: 1 << 20}
	for _, key := range []string{"/data/1", "/new/dir/2"} {
		err := p.Put(t.Context(), key, big)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("put %s gives %v", key, err)
		}
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Errorf("debris (-before +after):\n%s", diff)
	}
	section, err := bank.New(p, nil).Section("/data")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := section.GetText(t.Context(), "1"); text != "old" || err != nil {
		t.Errorf("old object is %q, %v", text, err)
	}
	err = section.Put(t.Context(), "3", big)
	if err == nil || !strings.HasPrefix(err.Error(), "Update Object /data/3 in Bank Failed: ") {
		t.Errorf("the bank gives %v", err)
	}
	if err := put(t, p, "/data/4", "small things fit again"); err != nil {
		t.Error(err)
	}
}
