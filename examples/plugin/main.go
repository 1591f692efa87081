// SPDX-License-Identifier: Apache-2.0

// Command karbor-protection-vault is the protection service with one plugin more:
// that of Vault, a storage of our own that keeps copies of Cinder's volumes.
package main

import (
	"os"

	"github.com/karbor-project/karbor/manager/service"

	"example.com/karbor-vault/vault"
)

// version is set when the program is built.
var version = "0.0.0-unknown"

func main() {
	setup := service.Builtin()
	vault.Register(setup.Plugins)
	os.Exit(service.Main(version, os.Args[1:], setup, os.Stdout, os.Stderr))
}
