// SPDX-License-Identifier: Apache-2.0

// Package install tests the targets of the Makefile that put the service onto a host.
package install

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkout returns a copy of what an installation takes, with programs that are built, or with none.
func checkout(t *testing.T, built bool) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(filepath.Join(dir, "etc"), os.DirFS("../../etc")))
	text, err := os.ReadFile("../../Makefile")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "Makefile"), text, 0o600))
	if !built {
		return dir
	}
	must(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	for _, program := range []string{"karbor-protection", "karborctl"} {
		must(t, os.WriteFile(filepath.Join(dir, "bin", program), []byte("#!/bin/sh\n"), 0o700)) //nolint:gosec // a program
	}
	return dir
}

// run runs make without Go in its path, as sudo does.
func run(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("make", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// files lists the files below a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, path)
		}
		return err
	}))
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestInstall installs into a tree and takes it away again.
func TestInstall(t *testing.T) {
	t.Parallel()
	dir, tree := checkout(t, true), t.TempDir()
	if out, err := run(t, dir, "install", "PREFIX=/opt", "DESTDIR="+tree); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	for unit, command := range map[string]string{"karbor-protection.service": "karbor-protection --use-journal", "karbor-backup@.service": "karborctl checkpoint prune "} {
		text, err := os.ReadFile(filepath.Join(tree, "usr/lib/systemd/system", unit))
		must(t, err)
		if !strings.Contains(string(text), "\nExecStart=/opt/bin/"+command) || strings.Contains(string(text), "/usr/bin") {
			t.Errorf("%s does not run /opt/bin/%s:\n%s", unit, command, text)
		}
	}
	configuration := []string{
		"etc/karbor/karbor.conf.sample",
		"etc/karbor/providers.d/noop.conf",
		"etc/karbor/providers.d/openstack-infra.conf",
		"etc/karbor/providers.d/openstack-kubernetes.conf",
	}
	want := append(slices.Clone(configuration),
		"etc/logrotate.d/karbor-protection",
		"opt/bin/karbor-protection",
		"opt/bin/karborctl",
		"opt/share/karbor/grafana/karbor.json", "opt/share/karbor/prometheus/karbor.rules.yml",
		"usr/lib/systemd/system/karbor-backup@.service",
		"usr/lib/systemd/system/karbor-backup@.timer",
		"usr/lib/systemd/system/karbor-protection.service", // /lib is a link in Debian, which a folder of that name would replace
		"usr/lib/sysusers.d/karbor.conf",
	)
	if got := files(t, tree); !slices.Equal(got, want) {
		t.Errorf("installed:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, provider := range configuration[1:] {
		text, err := os.ReadFile(filepath.Join(tree, provider))
		must(t, err)
		if !strings.Contains(string(text), "\nenabled = False\n") {
			t.Errorf("%s is enabled", provider)
		}
	}
	if out, err := run(t, dir, "uninstall", "PREFIX=/opt", "DESTDIR="+tree); err != nil {
		t.Fatalf("make uninstall: %v\n%s", err, out)
	}
	if got := files(t, tree); !slices.Equal(got, configuration) {
		t.Errorf("uninstalling leaves:\n%s", strings.Join(got, "\n"))
	}
}

// TestInstallNothing finds no program that is built, and does not try to build one.
func TestInstallNothing(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	out, err := run(t, checkout(t, false), "install", "DESTDIR="+tree)
	if err == nil || !strings.Contains(out, "make build") || len(files(t, tree)) != 0 {
		t.Errorf("%v: %s", err, out)
	}
}
