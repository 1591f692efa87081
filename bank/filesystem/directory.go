// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// directory is an open directory of the bank. Everything in the bank is opened relative to such a
// directory, one name at a time and without following symbolic links: a link could lead out of the
// bank, to files of the worker or of another bank, and could replace a directory at any time.
// (os.Root follows links that stay below the root and cannot refuse them.) The root itself may be a
// link, since the operator controls it.
type directory struct {
	fd   int
	path string // for error messages
}

// parts yields the names in a path.
func parts(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range strings.SplitSeq(path, "/") {
			if name != "" && !yield(name) {
				return
			}
		}
	}
}

// split returns the directory of a key and the last name in it.
func split(key string) (dir, name string) {
	i := strings.LastIndexByte(key, '/')
	return key[:i+1], key[i+1:]
}

// follow opens the directory at a path below d, and closes d.
func (d directory) follow(path string) (directory, error) {
	for name := range parts(path) {
		below, err := d.enter(name)
		d.close()
		if err != nil {
			return directory{}, err
		}
		d = below
	}
	return d, nil
}

// enter opens a directory in d.
func (d directory) enter(name string) (directory, error) {
	path := filepath.Join(d.path, name)
	fd, err := openat(d.fd, name, searchOnly|unix.O_NOFOLLOW, 0)
	if err != nil {
		return directory{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return directory{fd, path}, nil
}

// openFile opens a file in d, or d itself by the name ".".
func (d directory) openFile(name string, flag int, mode os.FileMode) (*os.File, error) {
	path := filepath.Join(d.path, name)
	fd, err := openat(d.fd, name, flag|unix.O_NOFOLLOW, uint32(mode))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// readDir returns the entries of d.
func (d directory) readDir() ([]os.DirEntry, error) {
	file, err := d.openFile(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.ReadDir(-1)
}

// remove removes a file or, with the flag unix.AT_REMOVEDIR, an empty directory. It removes a link
// itself and not its target.
func (d directory) remove(name string, flag int) error {
	if err := unix.Unlinkat(d.fd, name, flag); err != nil {
		return &fs.PathError{Op: "remove", Path: filepath.Join(d.path, name), Err: err}
	}
	return nil
}

// chmod sets the mode of a directory in d, independent of the umask of the process.
func (d directory) chmod(name string, mode os.FileMode) error {
	file, err := d.openFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Chmod(mode)
}

// sync forces the entries of d to disk. It ignores file systems that do not support this, such as
// some network file systems, and a directory that was removed meanwhile.
func (d directory) sync() error {
	file, err := d.openFile(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

func (d directory) close() { _ = unix.Close(d.fd) }

func openat(dir int, name string, flag int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flag|unix.O_CLOEXEC, mode)
		if !errors.Is(err, syscall.EINTR) {
			return fd, err
		}
	}
}
