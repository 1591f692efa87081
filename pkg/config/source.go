// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Source tells Load where to find values. The zero Source yields the defaults.
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

	// Overrides are values of the command line, which win over all other sources. A
	// scalar takes the last of several.
	Overrides map[Name][]string

	// Env looks up environment variables: OS_<GROUP>__<OPTION>, SNAP and
	// SNAP_COMMON. Nil is an empty environment.
	Env func(string) (string, bool)

	// Home is the directory that "~" stands for. Empty leaves the home
	// directory out of the search.
	Home string

	// Root is prefixed to /etc in the default search. Empty means the real one.
	Root string

	// Warn is called with each of Config.Warnings. Nil drops them.
	Warn func(string)
}

// paths lists the files to read; later ones win.
//
// Explicit files replace only the default files, and explicit directories only the
// default directories; all defaults come before everything explicit (oslo.config:
// cfg.py _parse_config_files). So a file of the command line wins over the default
// conf.d directories.
func (s *Source) paths() ([]string, error) {
	var all []string
	if len(s.Files) == 0 {
		all = append(all, s.search(".conf")...)
	}
	if len(s.Dirs) == 0 {
		for _, dir := range s.search(".conf.d") {
			files, err := confFiles(dir)
			if err != nil {
				return nil, err
			}
			all = append(all, files...)
		}
	}
	for _, path := range s.Files {
		path, err := s.expand(path)
		if err != nil {
			return nil, err
		}
		all = append(all, path)
	}
	for _, dir := range s.Dirs {
		dir, err := s.expand(dir)
		if err != nil {
			return nil, err
		}
		files, err := confFiles(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	return all, nil
}

// Search returns the existing default files and folders, and the folders in which they
// are searched.
func (s *Source) Search() (found, searched []string) {
	return append(s.search(".conf"), s.search(".conf.d")...), s.directories()
}

// search finds the default files or directories: for the project and then for the
// program, the first that exists in the directories listed in section "Default files"
// of the package comment.
func (s *Source) search(extension string) []string {
	dirs := s.directories()
	var found []string
	for _, base := range []string{s.Project, s.Prog} {
		if base == "" {
			continue
		}
		for _, dir := range dirs {
			path := filepath.Join(dir, base+extension)
			if _, err := os.Stat(path); err == nil {
				found = append(found, path)
				break
			}
		}
	}
	return found
}

// directories follows cfg.py _get_config_dirs.
func (s *Source) directories() []string {
	etc := filepath.Join("/", s.Root, "etc")
	var dirs []string
	if s.Home != "" && s.Project != "" {
		dirs = append(dirs, filepath.Join(s.Home, "."+s.Project))
	}
	if s.Home != "" {
		dirs = append(dirs, s.Home)
	}
	if s.Project != "" {
		dirs = append(dirs, filepath.Join(etc, s.Project))
	}
	dirs = append(dirs, etc)
	for _, variable := range []string{"SNAP_COMMON", "SNAP"} {
		if snap, _ := s.getenv(variable); snap != "" && s.Project != "" {
			dirs = append(dirs, filepath.Join(snap, "etc", s.Project))
		}
	}
	return dirs
}

func (s *Source) getenv(name string) (string, bool) {
	if s.Env == nil {
		return "", false
	}
	return s.Env(name)
}

// expand makes an explicit path absolute and replaces a leading "~" by Home.
func (s *Source) expand(path string) (string, error) {
	if s.Home != "" && (path == "~" || strings.HasPrefix(path, "~/")) {
		path = filepath.Join(s.Home, path[1:])
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding configuration file %s: %w", path, err)
	}
	return absolute, nil
}

// confFiles lists the *.conf of a directory sorted by name, without hidden files, like
// Python's glob.
func confFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("configuration directory %s does not exist", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading configuration directory: %w", err)
	}
	var files []string
	for _, entry := range entries { // ReadDir sorts
		name := entry.Name()
		if strings.HasSuffix(name, ".conf") && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files, nil
}

// credentialsDirectory is the environment variable in which systemd passes the folder
// of LoadCredential= and SetCredentialEncrypted= to a service.
const credentialsDirectory = "CREDENTIALS_DIRECTORY"

// withCredentials adds systemd's credentials, which only this service can read, to an
// environment: a credential OS_<GROUP>__<OPTION> counts as the variable of that name. A
// real variable wins, but others may see it in the process's environment. One final
// line break, added by editors, is removed.
func withCredentials(env func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if value, ok := env(name); ok {
			return value, true
		}
		dir, _ := env(credentialsDirectory)
		if dir == "" || !strings.HasPrefix(name, "OS_") || name != filepath.Base(name) {
			return "", false
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil { // none of that name, as for a variable
			return "", false
		}
		return strings.TrimSuffix(string(text), "\n"), true
	}
}
