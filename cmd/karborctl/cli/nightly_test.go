// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fenced returns the blocks of a page in one language.
func fenced(page, language string) (blocks []string) {
	for _, found := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, found[1])
	}
	return blocks
}

// TestNightly runs the commands of docs/nightly.md in their order, with the plan of the page, and then those of the unit.
func TestNightly(t *testing.T) {
	t.Parallel()
	page := readText(t, "../../../docs/nightly.md")
	plan := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(plan, []byte(strings.Join(fenced(page, "yaml"), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	unit := readText(t, "../../../etc/systemd/karbor-backup@.service")
	keep := regexp.MustCompile(`(?m)^Environment="KARBOR_KEEP=(.*)"$`).FindStringSubmatch(unit)
	if keep == nil || !strings.Contains(page, `KARBOR_KEEP="`+keep[1]+`"`) {
		t.Fatalf("the default of the unit is not the page's: %q", keep)
	}
	fill := strings.NewReplacer("ExecStart=/usr/bin/", "", "${KARBOR_PROVIDER}", "No-Op", " swift ", " No-Op ", "%i", "web",
		"/etc/karbor/plans.d/web.yaml", plan, "$KARBOR_KEEP", keep[1])
	c := newTool(t, managerEndpoints(t)...)
	ran := 0
	for line := range strings.Lines(strings.Join(fenced(page, "sh"), "") + unit) {
		// The second time fills in the path that %i was part of.
		args := strings.Fields(fill.Replace(fill.Replace(line)))
		if len(args) > 0 && args[0] == "karborctl" {
			c.must(t, args[1:]...)
			ran++
		}
	}
	if ran != 10 {
		t.Errorf("%d commands were found, want 8 of the page and 2 of the unit", ran)
	}
	for _, alert := range regexp.MustCompile("`Karbor[A-Z][A-Za-z]+`").FindAllString(page, -1) {
		if !strings.Contains(readText(t, "../../../etc/prometheus/karbor.rules.yml"), "alert: "+strings.Trim(alert, "`")+"\n") {
			t.Errorf("there is no alert %s", alert)
		}
	}
}
