// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"strings"
	"unicode"
)

// firstWords counts the first words of the names of functions and methods: "write" for writeIndex, "id" for IDOf.
func firstWords(packages []*pkg) map[string]int {
	words := map[string]int{}
	for _, p := range packages {
		for _, f := range p.production {
			for _, declaration := range f.syntax.Decls {
				if function, ok := declaration.(*ast.FuncDecl); ok {
					words[firstWord(function.Name.Name)]++
				}
			}
		}
	}
	return words
}

// firstWord returns the first word of a name in mixed caps, in lower case. Capitals in a row are one word up to the one that begins
// the next.
func firstWord(name string) string {
	runes := []rune(strings.TrimLeft(name, "_"))
	for i := 1; i < len(runes); i++ {
		begins := unicode.IsUpper(runes[i]) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins || runes[i] == '_' {
			return strings.ToLower(string(runes[:i]))
		}
	}
	return strings.ToLower(string(runes))
}
