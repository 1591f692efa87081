// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A dry run tells what is wrong and leaves it; a repair of what is whole ends at
// once.
func TestRepairFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, sub := range []string{"providers.d", "bank", "state"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	provider := "[provider]\nname = n\nid = provider-1\nenabled = True\nbank = karbor-fs-bank-plugin\nplugin = karbor-noop-protection-plugin\n" +
		"[file_system_bank_plugin]\nfile_system_bank_path = " + dir + "/bank\n"
	if err := os.WriteFile(filepath.Join(dir, "providers.d", "p.conf"), []byte(provider), 0o600); err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, "[DEFAULT]\nprovider_config_dir = "+dir+"/providers.d\nlog_file = /dev/null\nstate_path = "+dir+"/state\n")
	run := func(want int, flags ...string) string {
		t.Helper()
		var out, err bytes.Buffer
		if code := Main("1", append([]string{"--config-file", file}, flags...), Builtin(), &out, &err); code != want {
			t.Fatalf("%q: exit code %d, want %d: %s", flags, code, want, err.String())
		}
		return out.String() + err.String()
	}
	if got := run(ExitOK, "--repair"); got != "Nothing is wrong.\n" {
		t.Errorf("a whole bank: %q", got)
	}
	stray := filepath.Join(dir, "bank/karbor/indices/by-provider/provider-1/project/1@gone")
	if err := os.MkdirAll(filepath.Dir(stray), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stray, []byte("gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(ExitOK, "--repair", "--dry-run"); !strings.HasPrefix(got, "provider provider-1, checkpoint gone: index entry /indices/by-provider/") ||
		strings.Count(got, "\n") != 1 {
		t.Errorf("a dry run: %q", got)
	}
	if _, err := os.Stat(stray); err != nil {
		t.Error(err)
	}
	if got := run(ExitUsage, "--dry-run"); !strings.Contains(got, "--repair") {
		t.Errorf("a dry run of nothing: %q", got)
	}
	if got := run(ExitOK, "--repair", "--dry-run", "--remove-orphans"); !strings.Contains(got, "removed") {
		t.Errorf("a dry run that removes orphans: %q", got)
	}
	run(ExitUsage, "--remove-orphans")
	run(ExitUsage, "--repair", "--db-sync")
	if err := os.WriteFile(file, []byte("[DEFAULT]\nprovider_config_dir = /no/such.d\nlog_file = /dev/null\nstate_path = "+dir+"/state\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(ExitUsage, "--repair")
}
