// SPDX-License-Identifier: Apache-2.0

// Package systemd has systemd judge the units that come with the service.
package systemd

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exposed are the settings that systemd finds open, with the reason.
var exposed = map[string]string{
	"PrivateNetwork=": "it talks to the network",
	"IPAddressDeny=":  "the addresses are the site's: the unit has an example",
	"RestrictAddressFamilies=~AF_(INET|INET6)": "it talks to the network",
	"RestrictAddressFamilies=~AF_UNIX":         "syslog, and databases on the same machine",
	"RootDirectory=/RootImage=":                "the program is of the machine",
	"DeviceAllow=":                             "PrivateDevices leaves the harmless ones",
}

// install copies the units as a machine without the programs and the user takes them, and returns
// those of one kind.
func install(t *testing.T, kind string) (units []string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (package systemd)")
	}
	const from = "../../etc/systemd"
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text = regexp.MustCompile(`(?m)^(Exec\w+=-?)/usr/bin/karbor\S+`).ReplaceAll(text, []byte("${1}/bin/true"))
		text = regexp.MustCompile(`(?m)^(User|Group)=karbor$`).ReplaceAll(text, []byte("$1=daemon"))
		unit := filepath.Join(dir, entry.Name())
		if err := os.WriteFile(unit, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(unit, kind) {
			units = append(units, unit)
		}
	}
	if len(units) == 0 {
		t.Fatalf("there is no %s", kind)
	}
	return units
}

// TestUnderstood holds the units to what systemd understands.
func TestUnderstood(t *testing.T) {
	t.Parallel()
	for _, unit := range slices.Concat(install(t, ".service"), install(t, ".timer")) {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "karbor-") {
				t.Errorf("verify: %s", line)
			}
		}
		if err != nil {
			t.Logf("verify: %v: %s", err, out)
		}
	}
}

// TestHardened holds the services to the hardening that they can have.
func TestHardened(t *testing.T) {
	t.Parallel()
	for _, unit := range install(t, ".service") {
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short", unit).Output()
		if err != nil {
			t.Fatalf("security: %v", err)
		}
		var settings []struct {
			Field    string `json:"json_field"`
			Name     string
			Set      *bool
			Exposure *string
		}
		if err := json.Unmarshal(out, &settings); err != nil {
			t.Fatalf("security: %v: %.300s", err, out)
		}
		for _, s := range settings {
			if s.Exposure != nil && *s.Exposure != "" && *s.Exposure != "0.0" && exposed[s.Name] == "" {
				t.Errorf("%s: %s %s is open: exposure %s", filepath.Base(unit), s.Field, s.Name, *s.Exposure)
			}
		}
	}
}
