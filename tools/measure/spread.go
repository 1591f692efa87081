// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"path/filepath"
)

// fewestMethods is the number of methods from which on it matters where the methods of a type lie.
const fewestMethods = 6

// spread is a type with the files that its methods lie in.
type spread struct {
	name    string
	methods int
	files   map[string]bool
}

// spreads returns the types of a package that have fewestMethods or more.
func (p *pkg) spreads() []spread {
	types := map[string]*spread{}
	for _, f := range p.production {
		for _, declaration := range f.syntax.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || function.Recv == nil || len(function.Recv.List) == 0 {
				continue
			}
			name := receiver(function.Recv.List[0].Type)
			if types[name] == nil {
				types[name] = &spread{name: filepath.Join(p.folder, name), files: map[string]bool{}}
			}
			types[name].methods++
			types[name].files[f.name] = true
		}
	}
	var found []spread
	for _, t := range types {
		if t.methods >= fewestMethods {
			found = append(found, *t)
		}
	}
	return found
}

// receiver returns the name of a receiver's type without star and type parameters.
func receiver(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.ParenExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
