// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
)

// credentialsDirectory is the variable by which systemd tells a service where the
// files of its LoadCredential= and SetCredentialEncrypted= are.
const credentialsDirectory = "CREDENTIALS_DIRECTORY"

// withCredentials adds to an environment what systemd keeps for this service alone: a
// credential OS_<GROUP>__<OPTION> counts as the variable of that name, which wins, and
// which others may see in the process's environment. One line break at the end is the
// editor's.
func withCredentials(env func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if value, ok := env(name); ok {
			return value, true
		}
		dir, _ := env(credentialsDirectory)
		if dir == "" || !strings.HasPrefix(name, "OS_") || name != filepath.Base(name) {
			return "", false
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil { // none of that name, as for a variable
			return "", false
		}
		return strings.TrimSuffix(string(text), "\n"), true
	}
}
