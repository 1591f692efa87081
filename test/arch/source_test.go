// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestSource checks what every file and package has in common: the licence line first, and a name
// that says what the package is.
func TestSource(t *testing.T) {
	t.Parallel()
	const licence = "// SPDX-License-Identifier: Apache-2.0"
	for _, p := range list(t, "./...") {
		path, _ := rel(p.ImportPath)
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "base", "misc"}, p.Name) {
			t.Errorf("%s: %q does not say what the package is", path, p.Name)
		}
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			first, err := firstLine(filepath.Join(p.Dir, name))
			if err != nil {
				t.Errorf("%s: %v", path, err)
			} else if first != licence {
				t.Errorf("%s/%s: the first line is not %q", path, name, licence)
			}
		}
	}
}

func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Scan()
	return s.Text(), s.Err()
}
