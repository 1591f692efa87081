// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// file is one Go file of a package.
type file struct {
	name   string
	lines  int
	syntax *ast.File
}

// pkg is the files of one folder that the build on this platform uses.
type pkg struct {
	folder     string // below the root of the tree
	production []file
	testLines  int
	fset       *token.FileSet
}

// load parses every package below root. Generated files, vendored code, testdata and folders that the go command ignores are left out.
func load(root string) ([]*pkg, error) {
	var packages []*pkg
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		name := entry.Name()
		if path != root && (name == "vendor" || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
			return fs.SkipDir
		}
		p, err := loadFolder(root, path)
		if err != nil {
			return fmt.Errorf("reading package %s: %w", path, err)
		}
		if len(p.production) > 0 || p.testLines > 0 {
			packages = append(packages, p)
		}
		return nil
	})
	return packages, err
}

func loadFolder(root, path string) (*pkg, error) {
	folder, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	p := &pkg{folder: folder, fset: token.NewFileSet()}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if entry.IsDir() || !strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		if used, err := build.Default.MatchFile(path, entry.Name()); err != nil || !used {
			continue
		}
		text, err := os.ReadFile(filepath.Join(path, entry.Name()))
		if err != nil {
			return nil, err
		}
		syntax, err := parser.ParseFile(p.fset, entry.Name(), text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		lines := bytes.Count(text, []byte("\n"))
		switch {
		case ast.IsGenerated(syntax):
		case strings.HasSuffix(entry.Name(), "_test.go"):
			p.testLines += lines
		default:
			p.production = append(p.production, file{entry.Name(), lines, syntax})
		}
	}
	return p, nil
}

func (p *pkg) lines() int {
	sum := 0
	for _, f := range p.production {
		sum += f.lines
	}
	return sum
}

// uses resolves the names of the package among its own files. What is imported stays unresolved, so that a tree can be measured
// without its dependencies.
func (p *pkg) uses() map[*ast.Ident]types.Object {
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: nothing{}, Error: func(error) {}, FakeImportC: true}
	var files []*ast.File
	for _, f := range p.production {
		files = append(files, f.syntax)
	}
	_, _ = config.Check(p.folder, p.fset, files, &info) // what is imported gives errors on purpose
	return info.Uses
}

// nothing imports every package as an empty one.
type nothing struct{}

func (nothing) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}

// quantile returns the value below which the given share of values lies.
func quantile(values []int, share float64) int {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	return values[min(len(values)-1, int(share*float64(len(values))))]
}
