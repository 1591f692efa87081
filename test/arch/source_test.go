// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
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

// TestClients holds that each HTTP client of production code comes from
// pkg/httpclient: any other one takes tokens along to wherever it is redirected.
func TestClients(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		path, _ := rel(p.ImportPath)
		if testKit(path) || path == "pkg/httpclient" || under(path, "test") || under(path, "tools") {
			continue
		}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if what := client(n); what != "" {
					t.Errorf("%s/%s uses %s, not pkg/httpclient", path, name, what)
				}
				return true
			})
		}
	}
}

// client returns what makes n an HTTP client of its own, or "".
func client(n ast.Node) string {
	selected := func(e ast.Expr) string {
		if s, ok := e.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && (x.Name == "http" || x.Name == "rest") {
				return x.Name + "." + s.Sel.Name
			}
		}
		return ""
	}
	switch n := n.(type) {
	case *ast.CompositeLit:
		if what := selected(n.Type); what == "http.Client" {
			return what + "{}"
		}
	case *ast.SelectorExpr:
		what := selected(n)
		if slices.Contains([]string{"http.DefaultClient", "http.Get", "http.Head", "http.Post", "http.PostForm", "rest.HTTPClientFor"}, what) {
			return what
		}
	}
	return ""
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
