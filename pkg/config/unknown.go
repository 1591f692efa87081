// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/agnivade/levenshtein"
)

// Unknown is a key of a configuration file that no option of the table reads.
type Unknown struct {
	Where   string // "file:line" of its last occurrence
	Name    Name   // the group as DEFAULT or in lower case
	Similar Name   // an option whose name is nearly the same; the zero Name for none
}

// String says what the key is, where it is, and what may be meant.
func (u Unknown) String() string {
	text := fmt.Sprintf("%s: there is no option %s in section [%s]", u.Where, u.Name.Name, u.Name.Group)
	switch {
	case u.Similar == Name{}:
	case u.Similar.Group == u.Name.Group:
		text += fmt.Sprintf(", do you mean %s?", u.Similar.Name)
	default:
		text += fmt.Sprintf(", do you mean %s in section [%s]?", u.Similar.Name, u.Similar.Group)
	}
	return text
}

// Unknown returns the keys of the files that no option reads, in the order of files and
// lines. A file that several programs share has keys of theirs, too.
func (c *Config) Unknown() []Unknown { return slices.Clone(c.unknown) }

// unknown lists what the files have beside the options of the table.
func (r *resolver) unknown() []Unknown {
	known := map[Name]bool{}
	for _, option := range r.table.options {
		for _, name := range option.names() {
			known[name] = true
		}
	}
	var all []Unknown
	for _, f := range r.files {
		var names []Name
		for name := range f.lines {
			if !known[name] {
				names = append(names, name)
			}
		}
		last := func(n Name) int { return f.lines[n][len(f.lines[n])-1] }
		slices.SortFunc(names, func(a, b Name) int { return cmp.Compare(last(a), last(b)) })
		for _, name := range names {
			all = append(all, Unknown{Where: fmt.Sprintf("%s:%d", f.path, last(name)), Name: name, Similar: r.table.similar(name)})
		}
	}
	return all
}

// mistyped is how many letters two names may differ in that are taken for the same.
const mistyped = 2

// similar returns the option that a name is nearest to: one with a name like it in a
// group like its own, or one of just that name in another group.
func (t *table) similar(name Name) Name {
	var found Name
	best := mistyped + 1
	for _, other := range t.order {
		distance := levenshtein.ComputeDistance(name.Name, other.Name)
		if distance > 0 || len(name.Name) <= mistyped {
			distance += levenshtein.ComputeDistance(name.Group, other.Group)
		} else {
			distance += min(mistyped, levenshtein.ComputeDistance(name.Group, other.Group))
		}
		if distance < best && distance < len(name.Name) {
			found, best = other, distance
		}
	}
	return found
}
