// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// Names in documents: a test by the end of its package's path, and a file.
var (
	namedTest = regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`")
	namedFile = regexp.MustCompile("`([a-z]+/[a-z0-9/_]+\\.go)`")
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// testsByFolder returns the tests of each folder.
func testsByFolder(t *testing.T) map[string]map[string]bool {
	t.Helper()
	found := map[string]map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), root)
		if found[folder] == nil {
			found[folder] = map[string]bool{}
		}
		for _, name := range testFunc.FindAllSubmatch(text, -1) {
			found[folder][string(name[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// rows returns the rows of the tables of a document by their first column.
func rows(t *testing.T, document string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			found[strings.TrimSpace(cells[1])] = line
		}
	}
	return found
}

// TestNamesInDocuments finds every test and file that a table of the documents
// names, and each of their numbered rows to have a test.
func TestNamesInDocuments(t *testing.T) {
	t.Parallel()
	folders := testsByFolder(t)
	exists := func(end, name string) bool {
		for folder, tests := range folders {
			if strings.HasSuffix(folder, "/"+end) && tests[name] {
				return true
			}
		}
		return false
	}
	numbered := regexp.MustCompile(`^[A-Z]-?\d\d$`)
	for _, document := range []string{"plugins.md", "decisions.md", "reliability.md", "security.md"} {
		for item, line := range rows(t, document) {
			tests := namedTest.FindAllStringSubmatch(line, -1)
			for _, name := range tests {
				if !exists(name[1], name[2]) {
					t.Errorf("%s: %s names %s.%s, which is not there", document, item, name[1], name[2])
				}
			}
			if numbered.MatchString(item) && len(tests) == 0 {
				t.Errorf("%s: %s names no test", document, item)
			}
			for _, file := range namedFile.FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(filepath.Join(root, file[1])); err != nil {
					t.Errorf("%s: %s: %v", document, item, err)
				}
			}
		}
	}
}

// TestAspectsOfRemarks finds the aspects of all remarks in the table of plugins.md, and
// no others.
func TestAspectsOfRemarks(t *testing.T) {
	t.Parallel()
	told, aspect := map[string]bool{}, regexp.MustCompile("Aspect: +\"([^\"]+)\"")
	for _, folder := range []string{"providers", "manager"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, found := range aspect.FindAllSubmatch(text, -1) {
				told[string(found[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "plugins.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "### Remarks\n")
	listed, quoted := map[string]bool{}, regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 2 {
			continue
		}
		for _, name := range quoted.FindAllStringSubmatch(cells[1], -1) {
			listed[name[1]] = true
		}
	}
	for name := range told {
		if !listed[name] {
			t.Errorf("there is no row of the aspect %q", name)
		}
	}
	for name := range listed {
		if !told[name] {
			t.Errorf("nothing remarks the aspect %q", name)
		}
	}
}

// TestItemsOfPlugins finds all that plugins, protectables and clients must hold to
// in the tables.
func TestItemsOfPlugins(t *testing.T) {
	t.Parallel()
	found := rows(t, "plugins.md")
	for letter, last := range map[string]int{"G": 9, "H": 5, "I": 19} {
		for n := 1; n <= last; n++ {
			item := letter + string(rune('0'+n/10)) + string(rune('0'+n%10))
			if found[item] == "" {
				t.Errorf("there is no row of %s", item)
			}
		}
	}
}
