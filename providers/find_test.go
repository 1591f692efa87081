// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/karbor-project/karbor/pkg/fault"
)

// The folder that the service is started from is nobody's configuration.
func TestTheWorkingDirectoryHasNoProviders(t *testing.T) {
	working, etc := t.TempDir(), t.TempDir()
	t.Chdir(working)
	for _, dir := range []string{working, etc} {
		if err := os.Mkdir(filepath.Join(dir, "providers.d"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	none := t.TempDir()
	for _, name := range []string{"providers.d", "./providers.d"} {
		if got, err := findDir(name, []string{none, etc}); err != nil || got != filepath.Join(etc, "providers.d") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if got, err := findDir(name, []string{none}); !fault.Is(err, "ConfigNotFound") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
