// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDefaultSearch covers the directories below /etc, which the vectors leave
// alone; those below the home directory are in them.
func TestDefaultSearch(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{
		"etc/karbor/karbor.conf", "etc/karbor.conf", "etc/karbor-protection.conf",
		"etc/karbor/karbor.conf.d/2.conf", "etc/karbor/karbor.conf.d/1.conf", "etc/karbor.conf.d/3.conf",
		"snap/etc/karbor/karbor.conf", "snap/etc/karbor/karbor-protection.conf.d/4.conf",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	src := Source{
		Project: "karbor", Prog: "karbor-protection", Root: root, Home: filepath.Join(root, "home"),
		Env: func(name string) (string, bool) { return filepath.Join(root, "snap"), name == "SNAP" },
	}
	paths, err := src.paths()
	if err != nil {
		t.Fatal(err)
	}
	for i := range paths {
		paths[i] = strings.TrimPrefix(paths[i], root+"/")
	}
	want := []string{
		"etc/karbor/karbor.conf", "etc/karbor-protection.conf",
		"etc/karbor/karbor.conf.d/1.conf", "etc/karbor/karbor.conf.d/2.conf",
		"snap/etc/karbor/karbor-protection.conf.d/4.conf",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
}

func TestMissingDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "none.d")
	_, err := Load(Source{Dirs: []string{dir}}, nil)
	if err == nil || !strings.Contains(err.Error(), "configuration directory "+dir+" does not exist") {
		t.Errorf("error %v", err)
	}
	file := writeFile(t, "a.conf", "")
	if _, err := Load(Source{Dirs: []string{file}}, nil); err == nil {
		t.Error("a file was taken for a directory")
	}
}
