// SPDX-License-Identifier: Apache-2.0

package filesystem_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/config"
)

func TestFromConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "provider.conf")
	text := "[file_system_bank_plugin]\nfile_system_bank_path = " + dir + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadFile(path, filesystem.Options)
	if err != nil {
		t.Fatal(err)
	}
	p, lease, err := filesystem.FromConfig(cfg, nil)
	if err != nil || lease != nil {
		t.Fatalf("lease %v, %v", lease, err)
	}
	if err := put(t, p, "/a", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "karbor", "a")); err != nil {
		t.Error(err)
	}

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err = config.LoadFile(path, filesystem.Options); err != nil {
		t.Fatal(err)
	}
	if _, _, err := filesystem.FromConfig(cfg, nil); err == nil || !strings.Contains(err.Error(), "file_system_bank_path is not set") {
		t.Errorf("error is %v", err)
	}
}
