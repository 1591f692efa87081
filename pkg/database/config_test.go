// SPDX-License-Identifier: Apache-2.0

package database

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "karbor.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	options := append([]config.Option{{Name: "state_path", Kind: config.String, Default: "/var/lib/karbor"}}, ConfigOptions...)
	c, err := config.LoadFile(path, options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFromConfig(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	db, err := FromConfig(t.Context(), load(t, "[DEFAULT]\nstate_path = "+state+"\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(state, "karbor.sqlite")); err != nil {
		t.Errorf("without a connection the database is elsewhere: %v", err)
	}

	db, err = FromConfig(t.Context(), load(t, "[database]\nconnection = mysql://u:p@127.0.0.1:1/k\n"+
		"max_pool_size = 3\nmax_overflow = 4\ndb_max_retries = -1\ndb_retry_interval = 2\ndb_max_retry_interval = 3\nidle_timeout = 60\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	o := db.options
	if o.MaxConns != 7 || o.MaxIdleConns != 3 || o.ConnLifetime != time.Minute ||
		o.Retry.Max != -1 || o.Retry.Interval != 2*time.Second || o.Retry.MaxInterval != 3*time.Second {
		t.Errorf("options are %+v, retry %+v", o, *o.Retry)
	}
	for _, option := range ConfigOptions {
		if option.Name == "connection" && !option.Secret {
			t.Error("the connection URL is shown in dumps")
		}
	}
}
