// SPDX-License-Identifier: Apache-2.0

package devstack

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/ini.v1"
	_ "modernc.org/sqlite"
)

// host is a machine that devstack runs on: a folder in the place of /.
type host struct {
	t    *testing.T
	dest string
}

// newHost has the repository as devstack clones it, and what make build leaves.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t, t.TempDir()}
	root, err := filepath.Abs("../..")
	must(t, err)
	must(t, os.MkdirAll(h.path("karbor-go/bin"), 0o755))
	for _, name := range []string{"devstack", "etc", "go.mod"} {
		must(t, os.Symlink(filepath.Join(root, name), h.path("karbor-go", name)))
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", h.path("karbor-go/bin"), "./cmd/karbor-protection", "./cmd/karborctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		if h.exists("karbor-protection-go.pid") {
			_ = syscall.Kill(h.pid(), syscall.SIGKILL)
		}
	})
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *host) path(parts ...string) string {
	return filepath.Join(append([]string{h.dest}, parts...)...)
}

func (h *host) exists(name string) bool {
	_, err := os.Stat(h.path(name))
	return err == nil
}

func (h *host) write(name, content string) {
	h.t.Helper()
	must(h.t, os.MkdirAll(filepath.Dir(h.path(name)), 0o755))
	must(h.t, os.WriteFile(h.path(name), []byte(content), 0o600))
}

func (h *host) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(h.path(name))
	must(h.t, err)
	return string(text)
}

// script is one of devstack's: it sources the settings once, and the plugin for
// each phase. It returns ENABLED_SERVICES as they are in the end.
func (h *host) script(enabled string, phases ...string) []string {
	h.t.Helper()
	text := "source testdata/functions.sh\nsource $KARBOR_GO_DIR/devstack/settings\n"
	for _, phase := range phases {
		text += "source $KARBOR_GO_DIR/devstack/plugin.sh " + phase + "\n"
	}
	cmd := exec.Command("bash", "-c", text+`echo "$ENABLED_SERVICES" >"$DEST/enabled"`)
	cmd.Env = append(os.Environ(), "DEST="+h.dest, "KARBOR_GO_DIR="+h.path("karbor-go"), "ENABLED_SERVICES="+enabled,
		"KARBOR_GO_BIN_DIR="+h.path("usr/local/bin"), "KARBOR_GO_CONF_DIR="+h.path("etc/karbor"))
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %v\n%s", phases, err, out)
	}
	return strings.Split(strings.TrimSpace(h.read("enabled")), ",")
}

func (h *host) stack(enabled string) []string {
	h.t.Helper()
	return h.script(enabled, "stack pre-install", "stack install", "stack post-config", "stack extra", "stack test-config")
}

func (h *host) pid() (pid int) {
	_, _ = fmt.Sscan(h.read("karbor-protection-go.pid"), &pid)
	return pid
}

// options asserts values of an ini file, by "section.option".
func (h *host) options(name string, want map[string]string) {
	h.t.Helper()
	file, err := ini.Load(h.path(name))
	must(h.t, err)
	for key, value := range want {
		section, option, _ := strings.Cut(key, ".")
		if got := file.Section(section).Key(option).String(); got != value {
			h.t.Errorf("%s: %s is %q, not %q", name, key, got, value)
		}
	}
}

const withKarbor = "key,mysql,rabbit,s-proxy,karbor-api,karbor-operationengine,karbor-protection"

func TestBesideKarbor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	// What Karbor's own plugin leaves.
	const theirs = "[provider]\nid = b766f37c-d011-4026-8228-28730d734a3f\nname = theirs\n"
	h.write("etc/karbor/karbor.conf", "[DEFAULT]\nmin_interval = 60\ndebug = False\n")
	h.write("etc/karbor/providers.d/noop.conf", theirs)

	enabled := h.stack(withKarbor)
	if slices.Contains(enabled, "karbor-protection") || !slices.Contains(enabled, "karbor-protection-go") || !slices.Contains(enabled, "karbor-api") {
		t.Errorf("enabled: %v", enabled)
	}
	const identity = "http://127.0.0.1:1/identity"
	h.options("etc/karbor/karbor.conf", map[string]string{
		"DEFAULT.min_interval": "60", "DEFAULT.debug": "True", "DEFAULT.transport_url": "rabbit://stackrabbit:secret@127.0.0.1:1/",
		"DEFAULT.state_path": h.path("data/karbor"), "DEFAULT.provider_config_dir": h.path("etc/karbor/providers.d"),
		"database.connection": "sqlite:///" + h.path("karbor.sqlite"), "clients_keystone.auth_uri": identity,
		"trustee.auth_url": identity, "trustee.username": "karbor", "trustee.password": "secret", "trustee.user_domain_id": "default",
		"keystone_authtoken.username": "karbor", "keystone_authtoken.auth_url": identity,
	})
	h.options("etc/karbor/providers.d/openstack-infra.conf", map[string]string{
		"provider.enabled": "True", "swift_client.swift_auth_url": identity + "/v3", "swift_client.swift_user": "karbor",
		"swift_client.swift_key": "secret", "swift_client.swift_tenant_name": "service",
	})
	h.options("etc/karbor/providers.d/openstack-fs-bank.conf", map[string]string{
		"file_system_bank_plugin.file_system_bank_path": h.path("data/karbor/bank")})
	if got := h.read("etc/karbor/providers.d/noop.conf"); got != theirs {
		t.Errorf("a provider file of Karbor's plugin was changed:\n%s", got)
	}
	if got := h.read("asked"); strings.Contains(got, "recreate_database") || !strings.Contains(got, "make karbor-go build\n") ||
		!strings.Contains(got, "create_service_user karbor admin\n") {
		t.Errorf("asked for:\n%s", got)
	}
	h.serves()

	h.script(withKarbor, "unstack")
	if h.exists("karbor-protection-go.pid") || !strings.Contains(h.read("karbor-protection-go.log"), "stopped") {
		t.Errorf("it was not ended in order:\n%s", h.read("karbor-protection-go.log"))
	}
	h.stack(withKarbor) // again, over what is there
	h.serves()
	h.script(withKarbor, "unstack")
	h.script(withKarbor, "clean")
	for _, gone := range []string{"usr/local/bin/karbor-protection-go", "usr/local/bin/karborctl", "data/karbor"} {
		if h.exists(gone) {
			t.Errorf("%s was left", gone)
		}
	}
	if got := h.read("asked"); !strings.HasSuffix(got, "make karbor-go clean\n") {
		t.Errorf("asked for:\n%s", got)
	}
}

// Without Karbor's own plugin and without Swift.
func TestAlone(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.stack("key,mysql,rabbit")
	h.options("etc/karbor/providers.d/openstack-infra.conf", map[string]string{"provider.enabled": "False"})
	h.options("etc/karbor/providers.d/noop.conf", map[string]string{
		"provider.enabled": "True", "file_system_bank_plugin.file_system_bank_path": h.path("data/karbor/bank")})
	if got := h.read("asked"); !strings.Contains(got, "recreate_database karbor\n") {
		t.Errorf("asked for:\n%s", got)
	}
	h.serves()
	h.script("key,mysql,rabbit", "unstack")
}

// A service that is not wanted is not touched.
func TestDisabled(t *testing.T) {
	t.Parallel()
	h := &host{t, t.TempDir()}
	root, err := filepath.Abs("../..")
	must(t, err)
	must(t, os.Symlink(root, h.path("karbor-go")))
	h.script("key", "stack pre-install; disable_service karbor-protection-go", "stack install", "stack post-config", "stack extra", "unstack", "clean")
	left, err := filepath.Glob(h.path("*"))
	must(t, err)
	if want := []string{h.path("enabled"), h.path("karbor-go")}; !slices.Equal(left, want) {
		t.Errorf("%q is there", left)
	}
}

// serves waits until the worker looks for the broker of its configuration. There
// is none, which it bears.
func (h *host) serves() {
	h.t.Helper()
	pid := h.pid()
	deadline := time.Now().Add(5 * time.Minute)
	for !strings.Contains(h.read("karbor-protection-go.log"), "connecting to 127.0.0.1:1 as stackrabbit") {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || time.Now().After(deadline) {
			h.t.Fatalf("the worker does not start:\n%s", h.read("karbor-protection-go.log"))
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || got != h.path("usr/local/bin/karbor-protection-go") {
		h.t.Fatalf("the process is %q, %v\n%s", got, err, h.read("karbor-protection-go.log"))
	}
	db, err := sql.Open("sqlite", h.path("karbor.sqlite"))
	must(h.t, err)
	defer db.Close()
	var tables int
	must(h.t, db.QueryRow("SELECT count(*) FROM sqlite_master WHERE name IN ('operation_logs', 'restores', 'services')").Scan(&tables))
	if tables != 3 {
		h.t.Errorf("%d of 3 tables", tables)
	}
}
