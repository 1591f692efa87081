// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// resolver finds the value of each option: the command line before the
// environment before the files before the default.
type resolver struct {
	src      *Source
	files    []*file
	table    *table
	done     map[Name]setting
	wrong    map[Name]error
	override map[Name][]string
	busy     map[Name]bool // being resolved: to meet one again is a cycle
	warned   map[[2]Name]bool
	warnings []string
}

// errUnresolved stops an option that refers to a wrong one: the error is that
// of the other option and is reported once.
var errUnresolved = errors.New("refers to a wrong option")

func newResolver(src *Source, files []*file, t *table) *resolver {
	return &resolver{
		src: src, files: files, table: t,
		done: make(map[Name]setting), wrong: make(map[Name]error),
		override: canonicalOverrides(src.Overrides),
		busy:     make(map[Name]bool), warned: make(map[[2]Name]bool),
	}
}

func canonicalOverrides(overrides map[Name][]string) map[Name][]string {
	canonical := make(map[Name][]string, len(overrides))
	for name, texts := range overrides {
		canonical[name.canonical()] = append(canonical[name.canonical()], texts...)
	}
	return canonical
}

func (r *resolver) resolveAll() (*Config, error) {
	for _, name := range r.table.order {
		r.resolve(name)
	}
	if len(r.wrong) == 0 {
		return &Config{values: r.done, order: r.table.order, warnings: r.warnings}, nil
	}
	var wrong []error
	for _, name := range r.table.order {
		if err := r.wrong[name]; err != nil && !errors.Is(err, errUnresolved) {
			wrong = append(wrong, err)
		}
	}
	return nil, errors.Join(wrong...)
}

// resolve evaluates a registered option once. It reports whether the option
// has a setting in done; otherwise its error is in wrong.
func (r *resolver) resolve(name Name) bool {
	if _, ok := r.done[name]; ok {
		return true
	}
	if r.wrong[name] != nil {
		return false
	}
	r.busy[name] = true
	defer delete(r.busy, name)

	option := r.table.options[name]
	s, err := r.evaluate(option, r.given(option))
	if err != nil {
		r.wrong[name] = err
		return false
	}
	r.done[name] = s
	return true
}

// given returns what the strongest source says: one occurrence for a scalar,
// any number for a MultiString, none when no source has the option.
func (r *resolver) given(o *Option) []occurrence {
	names := o.names()
	for i, name := range names {
		var found []occurrence
		for _, text := range r.override[name] {
			found = append(found, occurrence{text, "command line"})
		}
		if len(found) == 0 {
			continue
		}
		if i > 0 {
			r.warn(name, names[0])
		}
		return o.last(found)
	}
	variable := EnvName(o.Group, o.Name)
	if text, ok := r.src.getenv(variable); ok {
		return []occurrence{{text, "environment " + variable}}
	}
	return r.fromFiles(o, names)
}

// fromFiles looks into the last file first, and in a file for the current name
// before former ones. The values of a MultiString add up over files and names
// (oslo.config: cfg.py _get_file_value).
func (r *resolver) fromFiles(o *Option, names []Name) []occurrence {
	var all []occurrence
	for _, f := range slices.Backward(r.files) {
		for i, name := range names {
			found := f.values(name)
			if len(found) == 0 {
				continue
			}
			if i > 0 {
				r.warn(name, names[0])
			}
			if o.Kind != MultiString {
				return o.last(found)
			}
			all = append(found, all...)
		}
	}
	return all
}

func (o *Option) last(found []occurrence) []occurrence {
	if o.Kind == MultiString {
		return found
	}
	return found[len(found)-1:]
}

func (r *resolver) warn(old, current Name) {
	if r.warned[[2]Name{old, current}] {
		return
	}
	r.warned[[2]Name{old, current}] = true
	r.warnings = append(r.warnings, fmt.Sprintf(
		"option %q from group %q is deprecated, use option %q from group %q",
		old.Name, old.Group, current.Name, current.Group))
}

// EnvName is the environment variable that sets an option: OS_<GROUP>__<NAME>
// in upper case (oslo.config: sources/_environment.py get_name).
func EnvName(group, name string) string {
	n := Name{group, name}.canonical()
	return "OS_" + strings.ToUpper(n.Group) + "__" + strings.ToUpper(n.Name)
}
