// SPDX-License-Identifier: Apache-2.0

package config

// Source says where Load finds values. The zero Source yields the defaults.
type Source struct {
	// Project and Prog name the default files and directories, which are
	// searched when Files or Dirs is empty: <Project>.conf, <Prog>.conf and the
	// same with ".conf.d". Empty names are not searched.
	Project, Prog string

	// Files are read in order; a later one wins. Each must exist.
	Files []string

	// Dirs are read after the files: all *.conf of a directory sorted by name.
	// Each must exist.
	Dirs []string

	// Overrides are values of the command line, above all other sources. A
	// scalar takes the last of several.
	Overrides map[Name][]string

	// Env looks up environment variables: OS_<GROUP>__<OPTION>, SNAP and
	// SNAP_COMMON. Nil is an empty environment.
	Env func(string) (string, bool)

	// Home is the directory that "~" stands for. Empty leaves the home
	// directory out of the search.
	Home string

	// Root is put before /etc in the default search. Empty is the real one.
	Root string

	// Warn receives each warning of Config.Warnings. Nil drops them.
	Warn func(string)
}
