// SPDX-License-Identifier: Apache-2.0

// Package systemd has systemd judge the unit that comes with the service.
package systemd

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// TestUnit holds the unit to what systemd understands and to the hardening that it
// can have.
func TestUnit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (package systemd)")
	}
	text, err := os.ReadFile("../../etc/systemd/karbor-protection.service")
	if err != nil {
		t.Fatal(err)
	}
	// The program is not installed where tests run.
	unit := filepath.Join(t.TempDir(), "karbor-protection.service")
	text = regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAll(text, []byte("ExecStart=/bin/true"))
	text = regexp.MustCompile(`(?m)^(User|Group)=karbor$`).ReplaceAll(text, []byte("$1=daemon"))
	if err := os.WriteFile(unit, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "karbor-protection.service") {
			t.Errorf("verify: %s", line)
		}
	}
	if err != nil {
		t.Logf("verify: %v: %s", err, out)
	}
	out, err = exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short", unit).Output()
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
			t.Errorf("%s %s is open: exposure %s", s.Field, s.Name, *s.Exposure)
		}
	}
}
