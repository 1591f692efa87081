// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"fmt"
	"os"
	"strconv"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/config"
)

const group = "file_system_bank_plugin"

// Options are the options of the bank in a provider's file.
//
// karbor: file_system_bank_plugin.py file_system_bank_plugin_opts
var Options = []config.Option{
	{Group: group, Name: "file_system_bank_path", Kind: config.String,
		Help: "The directory of the bank, on storage that all nodes share. It has no default and must be set."},
	{Group: group, Name: "bank_object_container", Kind: config.String, Default: "karbor",
		Help: "The directory in file_system_bank_path that holds the objects."},
	{Group: group, Name: "bank_object_mode", Kind: config.String, Default: "0600",
		Help: "The mode of the files, in octal; directories can be searched by those who may read the files. Files that are there keep theirs. " +
			"The default is for workers that run as one user; 0644 is what the original's files have."},
}

// FromConfig returns the bank that a provider's file describes. The lease is nil, since a file
// system has none.
func FromConfig(cfg *config.Config, log logrus.FieldLogger) (bank.Plugin, *bank.Lease, error) {
	mode, err := strconv.ParseUint(cfg.String(group, "bank_object_mode"), 8, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("file system bank: bank_object_mode: %w", err)
	}
	p, err := New(Config{
		Path:      cfg.String(group, "file_system_bank_path"),
		Container: cfg.String(group, "bank_object_container"),
		Mode:      os.FileMode(mode),
	}, log)
	return p, nil, err
}
