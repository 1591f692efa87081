// SPDX-License-Identifier: Apache-2.0

// Package example builds and tests what examples/ shows to vendors: modules of
// their own, which see of this one what anybody sees.
package example

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is the daemon with a plugin of its own.
const module = "../../examples/plugin"

// run runs the go command in the module and returns its output. The module's own
// go.mod decides, whatever the environment says.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A dependency that changes here changes there: go mod tidy in the module mends
// it.
func TestModuleIsTidy(t *testing.T) {
	t.Parallel()
	run(t, "mod", "tidy", "-diff")
}

// The plugin passes its tests, the conformance suite among them.
func TestPlugin(t *testing.T) {
	t.Parallel()
	run(t, "vet", "./...")
	if out := run(t, "test", "-count=1", "-v", "-run", "TestConformance|TestSurvives|TestThereAndBack|TestFailures|TestProviderFile", "./vault"); !strings.Contains(out, "--- PASS: TestSurvives") {
		t.Errorf("the suite was not run:\n%s", out)
	}
}

// The daemon knows the plugin beside those that come with the service.
func TestDaemon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "karbor-protection-vault")
	run(t, "build", "-ldflags", "-X main.version=1.2.3", "-o", program, ".")
	if got := daemon(t, program, "--version"); got != "1.2.3\n" {
		t.Errorf("--version: %q", got)
	}

	file, err := os.ReadFile(module + "/etc/vault.conf")
	must(t, err)
	text := strings.Replace(string(file), "/var/lib/karbor/bank", filepath.Join(dir, "bank"), 1)
	must(t, os.MkdirAll(filepath.Join(dir, "providers.d"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "providers.d", "vault.conf"), []byte(text), 0o600))
	conf := filepath.Join(dir, "karbor.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "[DEFAULT]\nstate_path = %s\nprovider_config_dir = %s\n", dir, filepath.Join(dir, "providers.d")), 0o600))
	daemon(t, program, "--config-file", conf, "--db-sync")
	out := daemon(t, program, "--config-file", conf, "--repair", "--dry-run")
	if want := "provider Vault (0c6bd1c8-6e5a-4a62-9c3f-7f2f0d5f4b6e) is loaded and protects OS::Cinder::Volume"; !strings.Contains(out, want) {
		t.Errorf("the output does not have %q:\n%s", want, out)
	}
}

// daemon runs the program to its end, which has to be a good one.
func daemon(t *testing.T, program string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
