// SPDX-License-Identifier: Apache-2.0

// Package prometheus_test has promtool check the alerts of etc/prometheus, their syntax and
// what each of them fires on, and the expressions of the dashboard in etc/grafana.
package prometheus_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promtool runs Debian's promtool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool of Debian's package prometheus is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", "../../etc/prometheus/karbor.rules.yml")
	promtool(t, "test", "rules", "karbor.test.yml")
}

// Each expression of the dashboard is one of Prometheus, once Grafana has put in its
// variables: promtool reads them as rules.
func TestDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../etc/grafana/karbor.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$provider", ".*")
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, panel := range dashboard.Panels {
		for j, target := range panel.Targets {
			expr := variables.Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: a variable of nobody in %s", panel.Title, expr)
			}
			rules += fmt.Sprintf("  - record: panel_%d_%d\n    expr: %q\n", i, j, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}
