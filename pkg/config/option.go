// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
)

// DefaultGroup is the section of options that name no group.
const DefaultGroup = "DEFAULT"

// Kind is the type of an option's value.
type Kind int

// The kinds follow the classes of oslo_config/types.py.
const (
	String      Kind = iota // any text
	Int                     // decimal integer, 64 bits
	Float                   // decimal number
	Bool                    // true, 1, on, yes, false, 0, off, no in any case
	List                    // texts separated by commas
	MultiString             // one text an occurrence: lines and files add up
	Dict                    // name:value pairs separated by commas
	HostAddress             // IPv4 or IPv6 address or host name
	Port                    // integer from 0 to 65535
)

var kindNames = [...]string{
	"string", "integer", "floating point", "boolean", "list",
	"multi valued", "dict", "host address", "port",
}

// String names the kind as the sample file and errors show it.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kindNames[k]
}

// Name addresses an option: its group and its name in that group. An empty
// Group is DefaultGroup, except in Option.Deprecated, where it is the group of
// the option itself.
type Name struct{ Group, Name string }

// String is "group.name", with the group left out when it is DEFAULT.
func (n Name) String() string {
	if n.Group == "" || n.Group == DefaultGroup {
		return n.Name
	}
	return n.Group + "." + n.Name
}

// canonical is the form by which options are found: group names ignore case
// except that DEFAULT stands alone (oslo.config: cfg.py _normalize_group_name),
// and a dash in an option's name is an underscore (cfg.py Opt.dest).
func (n Name) canonical() Name {
	return Name{Group: canonicalGroup(n.Group), Name: strings.ReplaceAll(n.Name, "-", "_")}
}

func canonicalGroup(group string) string {
	if group == "" || group == DefaultGroup {
		return DefaultGroup
	}
	return strings.ToLower(group)
}

// Option declares one option. A package keeps its options in one table, from
// which the loader, the sample file and the reference page are made.
type Option struct {
	Group string // section of the file; empty is DEFAULT
	Name  string // key in the file, words joined by underscores
	Kind  Kind

	// Default is the value when no source gives one: nil for none, a text that
	// is read like a value of a file, or a Go value of the kind (int, int64,
	// float64, bool, []string, map[string]string). References in texts are
	// expanded.
	Default any
	Help    string
	Secret  bool // the value is never shown in dumps and errors

	Deprecated []Name   // former names, newest first, each read with a warning
	Min, Max   *int64   // inclusive bounds of Int, Float and Port; see Bound
	Choices    []string // the only values allowed; empty allows all

	CLI   bool   // also a flag of the command line: --name, or --group-name
	Short string // one-letter flag, without the dash

	// Sample is the default that documents show where the true one depends on
	// the machine, such as the host's name.
	Sample string
}

// Bound returns a pointer to n, for Option.Min and Option.Max.
func Bound(n int64) *int64 { return &n }

func (o *Option) name() Name { return Name{o.Group, o.Name}.canonical() }

// names lists every name that a source may use, the current one first.
func (o *Option) names() []Name {
	current := o.name()
	names := []Name{current}
	for _, old := range o.Deprecated {
		if old.Group == "" {
			old.Group = current.Group
		}
		if old.Name == "" {
			old.Name = current.Name
		}
		names = append(names, old.canonical())
	}
	return names
}
