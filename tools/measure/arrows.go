// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/types"
	"slices"
)

// arrow is a pair of files of one package: from uses a function, method, type, constant or variable that to declares.
type arrow struct{ from, to string }

func (p *pkg) arrows() map[arrow]bool {
	found := map[arrow]bool{}
	for name, object := range p.uses() {
		function, isFunction := object.(*types.Func)
		method := isFunction && function.Signature().Recv() != nil
		if object.Pkg() == nil || object.Parent() != object.Pkg().Scope() && !method {
			continue
		}
		a := arrow{p.fset.Position(name.Pos()).Filename, p.fset.Position(object.Pos()).Filename}
		if a.to != "" && a.from != a.to {
			found[a] = true
		}
	}
	return found
}

// countCyclic returns how many arrows lie on a cycle: their target reaches their source.
func countCyclic(arrows map[arrow]bool) int {
	next := map[string][]string{}
	for a := range arrows {
		next[a.from] = append(next[a.from], a.to)
	}
	reaches := map[string]map[string]bool{}
	var walk func(source, at string)
	walk = func(source, at string) {
		for _, to := range next[at] {
			if !reaches[source][to] {
				reaches[source][to] = true
				walk(source, to)
			}
		}
	}
	for source := range next {
		reaches[source] = map[string]bool{}
		walk(source, source)
	}
	count := 0
	for a := range arrows {
		if reaches[a.to][a.from] {
			count++
		}
	}
	return count
}

// countUp returns how many arrows go up when the files are written one below the other in the best order: the fewest that must be
// cut to leave no cycle. The order is found by moving one file at a time to its best place until no move helps, which is exact for
// packages without cycles and close for others.
func countUp(arrows map[arrow]bool) int {
	users := map[string]int{}
	for a := range arrows {
		users[a.from] += 0
		users[a.to]++
	}
	var order []string
	for name := range users {
		order = append(order, name)
	}
	slices.SortFunc(order, func(a, b string) int {
		if users[a] != users[b] {
			return users[a] - users[b]
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	up := func(user, used string) int { // what it costs to have used above user
		if arrows[arrow{user, used}] {
			return 1
		}
		return 0
	}
	for moved := true; moved; {
		moved = false
		for _, name := range slices.Clone(order) {
			at := slices.Index(order, name)
			rest := slices.Delete(slices.Clone(order), at, at+1)
			cost := 0 // of the place before rest[0]
			for _, other := range rest {
				cost += up(other, name)
			}
			costs := []int{cost}
			for _, other := range rest {
				cost += up(name, other) - up(other, name)
				costs = append(costs, cost)
			}
			if best := slices.Index(costs, slices.Min(costs)); costs[best] < costs[at] {
				order, moved = slices.Insert(rest, best, name), true
			}
		}
	}
	count := 0
	for a := range arrows {
		if slices.Index(order, a.from) > slices.Index(order, a.to) {
			count++
		}
	}
	return count
}
