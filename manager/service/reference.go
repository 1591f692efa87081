// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"io"
	"slices"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/providers"
)

// WriteReference writes the page that documents every option: those of the
// main file, then those of provider files.
func WriteReference(w io.Writer) error {
	setup := Builtin()
	file := slices.Clone(providers.ProviderOptions)
	for _, bank := range setup.Banks.Entries() {
		file = append(file, bank.Options...)
	}
	for _, plugin := range setup.Plugins.Entries() {
		file = append(file, plugin.Options...)
	}
	for _, part := range []struct {
		text    string
		options []config.Option
	}{
		{"# Configuration\n\nThe option tables of the program make this page: `make config-sample`.\n\n## karbor.conf\n\n", Options()},
		{"\n## Provider files\n\nOne file per provider, in the folder that `provider_config_dir` names.\n\n", file},
	} {
		if _, err := fmt.Fprint(w, part.text); err != nil {
			return err
		}
		if err := config.WriteReference(w, part.options); err != nil {
			return err
		}
	}
	return nil
}
