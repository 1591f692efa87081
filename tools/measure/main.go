// SPDX-License-Identifier: Apache-2.0

// Measure prints what can be counted about the structure and the words of a Go tree, to compare commits and projects:
//
//	measure [-packages] [-types] [-peers DIR,DIR...] [DIR]
//
// Counted are the files that a type's methods lie in, lines of production code and tests, the arrows between the files of a
// package, and, with -peers, the first words of function names that occur in none of the other trees. A peer that is
// only a directory of sources, without its dependencies, is enough.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	perPackage := flag.Bool("packages", false, "print each package's files, lines and arrows")
	perType := flag.Bool("types", false, "print the types whose methods lie in more than two files")
	peers := flag.String("peers", "", "directories, separated by commas, whose `words` are known; GOROOT/src is a good one")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: measure [options] [DIR]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 {
		flag.Usage()
		os.Exit(2)
	}
	root := cmp.Or(flag.Arg(0), ".")
	var known []string
	if *peers != "" {
		known = strings.Split(*peers, ",")
	}
	if err := run(os.Stdout, root, known, *perPackage, *perType); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, root string, peers []string, perPackage, perType bool) error {
	packages, err := load(root)
	if err != nil {
		return err
	}
	reportTypes(w, packages, perType)
	reportLines(w, packages)
	reportArrows(w, packages, perPackage)
	if len(peers) > 0 {
		return reportWords(w, packages, peers)
	}
	return nil
}

func reportTypes(w io.Writer, packages []*pkg, each bool) {
	var all []spread
	var counts []int
	for _, p := range packages {
		for _, t := range p.spreads() {
			all = append(all, t)
			counts = append(counts, len(t.files))
		}
	}
	fmt.Fprintf(w, "files that a type's methods lie in, %d types with %d methods or more: p50 %d, p90 %d, max %d\n",
		len(all), fewestMethods, quantile(counts, .5), quantile(counts, .9), quantile(counts, 1))
	if !each {
		return
	}
	slices.SortFunc(all, func(a, b spread) int {
		return cmp.Or(len(b.files)-len(a.files), b.methods-a.methods, cmp.Compare(a.name, b.name))
	})
	for _, t := range all {
		if len(t.files) > 2 {
			fmt.Fprintf(w, "  %-60s %3d methods in %2d files\n", t.name, t.methods, len(t.files))
		}
	}
}

func reportLines(w io.Writer, packages []*pkg) {
	var lines []int
	production, tests := 0, 0
	for _, p := range packages {
		tests += p.testLines
		for _, f := range p.production {
			production += f.lines
			lines = append(lines, f.lines)
		}
	}
	fmt.Fprintf(w, "lines: production %d in %d files (p50 %d, p90 %d, max %d), tests %d\n",
		production, len(lines), quantile(lines, .5), quantile(lines, .9), quantile(lines, 1), tests)
}

func reportArrows(w io.Writer, packages []*pkg, each bool) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "package\tfiles\tproduction\ttests\tarrows\tin cycles\tup\t\n")
	total, cyclic, up := 0, 0, 0
	for _, p := range packages {
		arrows := p.arrows()
		onCycles, against := countCyclic(arrows), countUp(arrows)
		total, cyclic, up = total+len(arrows), cyclic+onCycles, up+against
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.folder, len(p.production), p.lines(), p.testLines, len(arrows), onCycles, against)
	}
	fmt.Fprintf(w, "arrows between the files of a package: %d, in cycles %d, up %d\n", total, cyclic, up)
	if each {
		_ = table.Flush() // w is where all else goes too
	}
}

func reportWords(w io.Writer, packages []*pkg, peers []string) error {
	known := map[string]bool{}
	for _, peer := range peers {
		others, err := load(peer)
		if err != nil {
			return err
		}
		for word := range firstWords(others) {
			known[word] = true
		}
	}
	var unknown []string
	words := firstWords(packages)
	for word := range words {
		if !known[word] {
			unknown = append(unknown, word)
		}
	}
	slices.Sort(unknown)
	fmt.Fprintf(w, "first words of function names: %d, of which %d occur in no peer:\n  %s\n", len(words), len(unknown), strings.Join(unknown, " "))
	return nil
}
