// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/agnivade/levenshtein"
)

// Unknown is a key in a configuration file for which the table has no option.
type Unknown struct {
	Where   string // "file:line" of its last occurrence
	Name    Name   // the group as DEFAULT or in lower case
	Similar Name   // an option whose name is nearly the same; the zero Name for none
}

// String describes the key, its place, and the option that may be meant.
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

// Unknown returns the keys of the files that match no option, in the order of files and
// lines. A file shared by several programs also has keys for the other programs.
func (c *Config) Unknown() []Unknown { return slices.Clone(c.unknown) }

// unknown lists the keys of the files that are not options of the table.
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

// mistyped is the number of letters by which a mistyped name may differ.
const mistyped = 2

// similar returns the option nearest to a name: one with a similar name in a similar
// group, or one with the same name in another group.
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
