// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Load reads the sources and returns the value of every option of the table.
// Sections and keys that are in no table are ignored, since karbor.conf is
// shared by several programs.
//
// The error joins all that is wrong: first the files that cannot be read or
// parsed (*ParseError), and when all could be, every value that its option
// does not allow (*ValueError).
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

// LoadFile reads one file with an option table of its own, such as that of a
// provider: no environment, no command line, no default files. References
// reach the options of this table only.
func LoadFile(path string, options []Option) (*Config, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find configuration file %s: %w", path, err)
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
