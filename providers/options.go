// SPDX-License-Identifier: Apache-2.0

package providers

import "github.com/karbor-project/karbor/pkg/config"

// Options are the main configuration's options of this package.
var Options = []config.Option{{
	Name: "provider_config_dir", Kind: config.String, Default: "providers.d",
	Help: "Folder with one file per provider, read from each file that ends in .conf. A relative path is looked for " +
		"in /var/lib/karbor/etc/karbor, /var/lib/karbor/etc, /var/lib/karbor and /etc/karbor, never in the working directory.",
}}

const signingGroup = "checkpoint_signing"

// ProviderOptions are the options of a provider file's own section. The bank
// and the plugins that it names have theirs.
// karbor: provider.py
var ProviderOptions = []config.Option{
	{Group: "provider", Name: "name", Kind: config.String, Default: "", Help: "The name that users see."},
	{Group: "provider", Name: "id", Kind: config.String, Default: "",
		Help: "The provider's id, a UUID. Plans and checkpoints refer to it: never change it."},
	{Group: "provider", Name: "description", Kind: config.String, Default: "", Help: "What users read about the provider."},
	{Group: "provider", Name: "bank", Kind: config.String, Default: "", Help: "The name of the bank plugin."},
	{Group: "provider", Name: "plugin", Kind: config.MultiString, Default: []string(nil),
		Help: "The name of a protection plugin. Repeat the line for each; for a resource type that two plugins serve, the later one counts."},
	{Group: "provider", Name: "on_unfit", Kind: config.List, Default: []string(nil),
		Help: "What becomes of a protection if a resource cannot be protected as it is, such as a server in ERROR: fail, or leave_out, by which the checkpoint has the rest, " +
			"and a remark says what it lacks and why. Either for all types, or TYPE=fail and TYPE=leave_out for one, with commas between them. " +
			"The parameter on_unfit of a plan goes before it. Empty: fail."},
	{Group: "provider", Name: "enabled", Kind: config.Bool, Default: false, Help: "Whether the provider is loaded."},
	{Group: signingGroup, Name: "key_file", Kind: config.String, Default: "",
		Help: "File with the keys that sign the provider's checkpoints: a line for each, an id and at least 64 hexadecimal digits. " +
			"The first key signs, all verify. Every worker needs the same file, outside the bank, which others must not be able to read. Empty: checkpoints are not signed."},
	{Group: signingGroup, Name: "require", Kind: config.Bool, Default: false,
		Help: "Whether a checkpoint without a signature is refused. A signature that does not hold is always refused when there is a key_file."},
}
