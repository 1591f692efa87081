// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/karbor-project/karbor/pkg/config"
)

func Example() {
	options := []config.Option{
		{Name: "state_path", Default: "/var/lib/karbor", CLI: true},
		{Group: "database", Name: "connection", Default: "sqlite:///$state_path/karbor.sqlite", Secret: true},
		{Group: "cinder_client", Name: "poll_interval", Kind: config.Int, Default: 15, Min: config.Bound(1)},
	}
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "karbor.conf")
	if err := os.WriteFile(path, []byte("[cinder_client]\npoll_interval = 5\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	// A daemon calls FromProcess, which adds the environment and default files.
	src, err := config.ParseArgs([]string{"--config-file", path, "--state_path=/srv"}, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := config.Load(src, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Int("cinder_client", "poll_interval"))
	fmt.Println(cfg.String("database", "connection"))
	fmt.Println(cfg.Where("", "state_path"))
	for _, line := range cfg.Dump() {
		fmt.Println(line)
	}
	// Output:
	// 5
	// sqlite:////srv/karbor.sqlite
	// command line
	// state_path = /srv
	// database.connection = ****
	// cinder_client.poll_interval = 5
}

func ExampleWriteSample() {
	options := []config.Option{
		{Group: "database", Name: "mode", Default: "safe", Choices: []string{"fast", "safe"}, Help: "How to write."},
	}
	if err := config.WriteSample(os.Stdout, options); err != nil {
		fmt.Println(err)
	}
	// Output:
	// [database]
	//
	// # How to write. (string value)
	// # Possible values: fast, safe
	// #mode = safe
}
