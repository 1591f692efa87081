// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"gopkg.in/ini.v1"
)

// file is one configuration file: the model of ini.v1, filled by the lexer.
// Key.Value is the last occurrence, which is what a scalar takes, and
// Key.NestedValues are all occurrences in order. (ValueWithShadows would lose
// the empty ones.) Section names are canonical groups.
type file struct {
	path  string
	model *ini.File
	lines map[Name][]int // of each occurrence
}

// occurrence is a value as a source gives it.
type occurrence struct {
	text  string
	where string
}

func readFile(path string) (*file, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration file: %w", err)
	}
	assigned, err := lex(string(text))
	if err != nil {
		var bad *ParseError
		if errors.As(err, &bad) {
			bad.File = path
		}
		return nil, err
	}
	return newFile(path, assigned)
}

func newFile(path string, assigned []assignment) (*file, error) {
	f := &file{
		path:  path,
		model: ini.Empty(ini.LoadOptions{AllowNestedValues: true}),
		lines: make(map[Name][]int),
	}
	for _, a := range assigned {
		group := canonicalGroup(a.section)
		section, err := f.model.NewSection(group)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: section %s: %w", path, a.line, a.section, err)
		}
		key, err := section.NewKey(a.key, a.value)
		if err == nil {
			err = key.AddNestedValue(a.value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: key %s: %w", path, a.line, a.key, err)
		}
		name := Name{group, a.key}
		f.lines[name] = append(f.lines[name], a.line)
	}
	return f, nil
}

// values returns the occurrences of a canonical name, none when it is absent.
func (f *file) values(name Name) []occurrence {
	lines := f.lines[name]
	if len(lines) == 0 {
		return nil
	}
	texts := f.model.Section(name.Group).Key(name.Name).NestedValues()
	found := make([]occurrence, len(lines))
	for i, text := range texts {
		found[i] = occurrence{text, f.path + ":" + strconv.Itoa(lines[i])}
	}
	return found
}
