// SPDX-License-Identifier: Apache-2.0

package providers_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// theirs are the names under which the original has plugins.
// karbor: setup.cfg, karbor.protections
var theirs = []string{"karbor-swift-bank-plugin", "karbor-fs-bank-plugin", "karbor-s3-bank-plugin", "karbor-noop-protection-plugin",
	"karbor-volume-protection-plugin", "karbor-volume-snapshot-plugin", "karbor-volume-glance-plugin", "karbor-volume-freezer-plugin",
	"karbor-image-protection-plugin", "karbor-server-protection-plugin", "karbor-share-protection-plugin", "karbor-network-protection-plugin",
	"karbor-database-protection-plugin", "karbor-pod-protection-plugin"}

// A Python worker loads no provider that names a plugin that it does not have, so the
// samples name none.
func TestSamplesServeTheOriginal(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../etc/providers.d/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^(?:bank|plugin) *= *(\S+)`).FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(theirs, line[1]) {
				t.Errorf("%s names %s", file, line[1])
			}
		}
	}
}
