// SPDX-License-Identifier: Apache-2.0

// Package keyfile reads files that hold keys, a key in each line.
package keyfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// maxSize bounds the size of a key file, which holds a few keys.
const maxSize = 64 << 10

// Line is a line of a key file. Errors must not show its text, which may be a key.
type Line struct {
	Number int // from 1
	Text   string
}

// Read returns the lines of a key file, without blanks around them. Empty lines and
// those that begin with # are left out. A file that users beyond its owner and a group
// of this process may read or change is refused, and so is anything but a regular file.
func Read(path string) ([]Line, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not keep the service waiting
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSize)
	}
	var lines []Line
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, Line{number, line})
		}
	}
	return lines, nil
}

// check returns an error for a file that users other than its owner and a group of this
// process may read or change.
func check(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	mode := info.Mode().Perm()
	if mode&0o007 != 0 {
		return fmt.Errorf("%s has mode %04o: every user of this machine can get at it (chmod o= %s)", path, mode, path)
	}
	status, ok := info.Sys().(*syscall.Stat_t)
	if !ok || mode&0o070 == 0 {
		return nil
	}
	own, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("reading the groups of this process: %w", err)
	}
	if group := int(status.Gid); group != os.Getegid() && !slices.Contains(own, group) {
		return fmt.Errorf("%s has mode %04o: group %d can get at it, of which this process is no member (chgrp it to the group of the service, or chmod g= %s)",
			path, mode, group, path)
	}
	return nil
}
