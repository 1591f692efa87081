// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Config holds the values of all options of a table. It never changes after it
// was loaded and is safe for concurrent use.
//
// The accessors take the group, "" for DEFAULT, and the name of an option. Asking for
// an option that is not in the table, or for another kind than the option declares, is
// a programming error and panics. An option without a value and without a default
// yields the zero value.
type Config struct {
	values   map[Name]setting
	order    []Name
	warnings []string
	unknown  []Unknown
}

// setting is the final value of one option and its source.
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

// IsSet reports whether the command line, the environment or a file sets the option,
// even to its default. An empty number does not count.
func (c *Config) IsSet(group, name string) bool { return c.lookup(group, name).given }

// Where returns the source of a value: "file:line" (the line of the last
// occurrence), "environment OS_GROUP__NAME", "command line" or "default".
func (c *Config) Where(group, name string) string { return c.lookup(group, name).where }

// Warnings returns the warnings about former option names found while loading, one for
// each option and former name.
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

// Load reads the sources and returns the value of every option of the table. Sections
// and keys that are in no table are ignored, since several programs share karbor.conf;
// Config.Unknown returns them.
//
// The error joins all problems: first the files that cannot be read or parsed
// (*ParseError); when there are none, every value that its option does not allow
// (*ValueError).
func Load(src Source, options []Option) (*Config, error) {
	r, err := open(&src, options)
	if err != nil {
		return nil, err
	}
	config, err := r.resolveAll()
	if err != nil {
		return nil, err
	}
	if src.Warn != nil {
		for _, warning := range config.warnings {
			src.Warn(warning)
		}
	}
	return config, nil
}

// LoadFile reads one file with an option table of its own, such as a provider file,
// without environment, command line and default files. References can only name options
// of this table.
func LoadFile(path string, options []Option) (*Config, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding configuration file %s: %w", path, err)
	}
	r, err := read(&Source{}, []string{absolute}, options)
	if err != nil {
		return nil, err
	}
	return r.resolveAll()
}

// open finds and reads the files of a source.
func open(src *Source, options []Option) (*resolver, error) {
	paths, err := src.paths()
	if err != nil {
		return nil, err
	}
	return read(src, paths, options)
}

func read(src *Source, paths []string, options []Option) (*resolver, error) {
	table, err := newTable(options)
	if err != nil {
		return nil, err
	}
	var files []*file
	var failed []error
	for _, path := range paths {
		f, err := readFile(path)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		files = append(files, f)
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	return newResolver(src, files, table), nil
}

// credentials is the user information of a URL.
var credentials = regexp.MustCompile(`://[^/@\s]+@`)

// Dump returns a line "group.name = value" for each option in the order of the table.
// Secret values, values that refer to a secret one, and user names and passwords in
// URLs are masked.
func (c *Config) Dump() []string {
	lines := make([]string, len(c.order))
	for i, name := range c.order {
		lines[i] = name.String() + " = " + c.values[name].show()
	}
	return lines
}

func (s setting) show() string {
	if s.secret && s.value != nil && s.value != "" {
		return mask
	}
	text := "<None>"
	switch value := s.value.(type) {
	case nil:
	case []string:
		text = strings.Join(value, ", ")
	case map[string]string:
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(value)) {
			pairs = append(pairs, key+":"+value[key])
		}
		text = strings.Join(pairs, ",")
	default:
		text = fmt.Sprint(value)
	}
	return credentials.ReplaceAllString(text, "://"+mask+"@")
}
