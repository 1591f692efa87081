// SPDX-License-Identifier: Apache-2.0

// Package prometheus_test has promtool check the alerts of etc/prometheus: their syntax,
// and what each of them fires on.
package prometheus_test

import (
	"os/exec"
	"testing"
)

func TestAlerts(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool of Debian's package prometheus is not installed")
	}
	for _, args := range [][]string{
		{"check", "rules", "../../etc/prometheus/karbor.rules.yml"},
		{"test", "rules", "karbor.test.yml"},
	} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
