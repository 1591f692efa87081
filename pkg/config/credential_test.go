// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/karbor-project/karbor/pkg/config"
)

// What systemd keeps for a service is found under the names of variables, which win.
func TestCredentialsOfSystemd(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"OS_DATABASE__CONNECTION": "mysql+pymysql://karbor:s3cret@db/karbor\n",
		"OS_DEFAULT__HOST":        "of-the-credential",
		"HOME":                    "/no/such/home",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("OS_DEFAULT__HOST", "of-the-variable")
	options := []config.Option{
		{Group: "database", Name: "connection", Kind: config.String},
		{Group: "database", Name: "other", Kind: config.String, Default: "unset"},
		{Name: "host", Kind: config.String},
	}
	source, err := config.FromProcess("karbor-test", "nothing", nil, options)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(source, options)
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[[2]string]string{
		{"database", "connection"}: "mysql+pymysql://karbor:s3cret@db/karbor",
		{"database", "other"}:      "unset",
		{"DEFAULT", "host"}:        "of-the-variable",
	} {
		if got := cfg.String(option[0], option[1]); got != want {
			t.Errorf("%v: got %q, want %q", option, got, want)
		}
	}
}
