// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files into a new folder and returns the one package that they are.
func tree(t *testing.T, files map[string]string) *pkg {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte("package p\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packages, err := load(root)
	if err != nil || len(packages) != 1 {
		t.Fatalf("%d packages, %v", len(packages), err)
	}
	return packages[0]
}

func TestArrows(t *testing.T) {
	t.Parallel()
	p := tree(t, map[string]string{
		"a.go":      "import \"example.com/missing\"\nfunc a() { b(); missing.Call() }\n",
		"b.go":      "func b() { new(c).leave() }\n",
		"c.go":      "type c struct{}\nfunc (*c) leave() { b() }\n",
		"d.go":      "func d() { d() }\n",
		"c_test.go": "func useless() { d() }\n",
	})
	arrows := p.arrows()
	for _, want := range []arrow{{"a.go", "b.go"}, {"b.go", "c.go"}, {"c.go", "b.go"}} {
		if !arrows[want] {
			t.Errorf("no arrow %v in %v", want, arrows)
		}
	}
	if len(arrows) != 3 || countCyclic(arrows) != 2 || countUp(arrows) != 1 {
		t.Errorf("%d arrows, %d in cycles, %d up", len(arrows), countCyclic(arrows), countUp(arrows))
	}
	if p.lines() != 3+2+3+2 || p.testLines != 2 {
		t.Errorf("%d and %d lines", p.lines(), p.testLines)
	}
}

func TestSpreads(t *testing.T) {
	t.Parallel()
	p := tree(t, map[string]string{
		"few.go":  "type few struct{}\nfunc (few) one() {}\n",
		"many.go": "type many[T any] struct{}\n" + strings.Repeat("func (*many[T]) _() {}\n", fewestMethods-1),
		"more.go": "func (many[T]) more() {}\n",
	})
	found := p.spreads()
	if len(found) != 1 || found[0].name != "many" || len(found[0].files) != 2 {
		t.Errorf("found %v", found)
	}
}

func TestFirstWord(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"writeIndex": "write", "IDOf": "id", "HTTP": "http", "String": "string", "x_y": "x", "_": ""} {
		if got := firstWord(name); got != want {
			t.Errorf("%s begins with %q, want %q", name, got, want)
		}
	}
}
