// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
)

// Config holds the values of all options of a table. It never changes after it
// was loaded and is safe for concurrent use.
//
// The accessors take the group, "" for DEFAULT, and the name of an option. To
// ask for an option that is not in the table, or for another kind of value
// than it declares, is a programming error and panics. An option without a
// value and without a default yields the zero value.
type Config struct {
	values   map[Name]setting
	order    []Name
	warnings []string
}

// setting is the final value of one option and where it comes from.
type setting struct {
	option *Option
	value  any // string, int64, float64, bool, []string, map[string]string or nil
	where  string
	given  bool // by a source, not by the default
	secret bool // the option is secret, or its value refers to one that is
}

// String returns the value of a String or HostAddress option.
func (c *Config) String(group, name string) string {
	return get[string](c, group, name, String, HostAddress)
}

// Int returns the value of an Int or Port option.
func (c *Config) Int(group, name string) int { return int(c.Int64(group, name)) }

// Int64 returns the value of an Int or Port option.
func (c *Config) Int64(group, name string) int64 {
	return get[int64](c, group, name, Int, Port)
}

// Float returns the value of a Float option.
func (c *Config) Float(group, name string) float64 {
	return get[float64](c, group, name, Float)
}

// Bool returns the value of a Bool option.
func (c *Config) Bool(group, name string) bool { return get[bool](c, group, name, Bool) }

// List returns a copy of the value of a List option.
func (c *Config) List(group, name string) []string {
	return slices.Clone(get[[]string](c, group, name, List))
}

// MultiString returns a copy of the values of a MultiString option, in the
// order of the files and of the lines in them.
func (c *Config) MultiString(group, name string) []string {
	return slices.Clone(get[[]string](c, group, name, MultiString))
}

// Dict returns a copy of the value of a Dict option.
func (c *Config) Dict(group, name string) map[string]string {
	return maps.Clone(get[map[string]string](c, group, name, Dict))
}

// IsSet reports whether the command line, the environment or a file gave the
// option a value, even one equal to the default. An empty number is none.
func (c *Config) IsSet(group, name string) bool { return c.lookup(group, name).given }

// Where tells the source of a value: "file:line" (the line of the last
// occurrence), "environment OS_GROUP__NAME", "command line" or "default".
func (c *Config) Where(group, name string) string { return c.lookup(group, name).where }

// Warnings returns the notes on former option names found while loading, one
// an option and former name.
func (c *Config) Warnings() []string { return slices.Clone(c.warnings) }

func (c *Config) lookup(group, name string) setting {
	s, ok := c.values[Name{group, name}.canonical()]
	if !ok {
		panic("config: option " + Name{group, name}.String() + " is not registered")
	}
	return s
}

func get[T any](c *Config, group, name string, kinds ...Kind) T {
	s := c.lookup(group, name)
	if !slices.Contains(kinds, s.option.Kind) {
		panic(fmt.Sprintf("config: option %s is of kind %v, not %v",
			Name{group, name}, s.option.Kind, kinds[0]))
	}
	value, _ := s.value.(T)
	return value
}
