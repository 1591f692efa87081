// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/bank"
)

// ofOneFile are the errors that a file or a directory may have while others have
// none. All others, such as too many open files, are not its own.
var ofOneFile = []error{
	syscall.EACCES, syscall.EPERM, // its mode or its attributes
	syscall.ELOOP, syscall.ENOTDIR, syscall.EISDIR, syscall.ENXIO, syscall.ENODEV, syscall.EINVAL, // it is something else
	syscall.EIO, syscall.EBADMSG, syscall.ENODATA, // bad blocks and checksums
	syscall.ESTALE, syscall.EOVERFLOW,
	errNotFile, io.ErrUnexpectedEOF,
}

// errNotFile has the text of the original.
var errNotFile = errors.New("Object is not a file") //nolint:staticcheck // shown to users as it is

// failed classes the error of an operation on what is at path, as bank.Plugin
// wants it. A file may be refused since all are, so the bank is looked at before
// the file is blamed.
func (s *store) failed(path string, err error) error {
	gone := missing(err)
	itself := func(target error) bool { return errors.Is(err, target) }
	if !gone && !slices.ContainsFunc(ofOneFile, itself) && !slices.ContainsFunc(ofOneFileHere, itself) {
		return err
	}
	if outage := s.outage(path); outage != nil {
		return outage
	}
	if gone && !linked(s.root, path) {
		return notFile{err}
	}
	return fmt.Errorf("%w: %w", bank.ErrUnusable, err)
}

// outage tells why nothing in the bank, or in the section that path is in, can be
// used. It is nil for a bank that nothing was written to yet.
func (s *store) outage(path string) error {
	if err := s.unusable(s.root); err != nil {
		return err
	}
	section, _, below := strings.Cut(strings.TrimPrefix(path, s.root+string(filepath.Separator)), string(filepath.Separator))
	if !below {
		return nil
	}
	return s.unusable(filepath.Join(s.root, section))
}

// unusable tells why a directory that everything depends on cannot be used.
func (s *store) unusable(dir string) error {
	links := unix.O_NOFOLLOW
	if dir == s.root {
		links = 0
	}
	fd, err := openat(unix.AT_FDCWD, dir, searchOnly|links, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if linked(filepath.Dir(dir), dir) || dir == s.root && s.seen.Load() {
			return fmt.Errorf("the bank is not there, is it mounted?: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("the bank cannot be used: %w", err)
	}
	d := directory{fd, dir}
	defer d.close()
	// The dot needs that the directory can be searched.
	if err := unix.Fstatat(fd, ".", new(unix.Stat_t), 0); err != nil {
		return fmt.Errorf("the bank cannot be used: searching %s: %w", dir, err)
	}
	if dir == s.root {
		s.seen.Store(true)
	}
	file, err := d.openFile(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil // to search it is enough
	}
	if err == nil {
		_, err = file.Readdirnames(1)
		file.Close()
	}
	if err != nil && err != io.EOF {
		return fmt.Errorf("the bank cannot be used: %w", err)
	}
	return nil
}

// missing tells whether err means that there is no such file: the name itself,
// a directory above it, or a name that no file can have.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// linked tells whether a name on the way from the root to a path is a link: what it
// leads to is not looked at, and may be anything.
func linked(root, path string) bool {
	for at := len(root); at < len(path); {
		next := strings.IndexByte(path[at+1:], filepath.Separator)
		if next < 0 {
			next = len(path) - at - 1
		}
		at += 1 + next
		info, err := os.Lstat(path[:at])
		if err != nil {
			return false
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

// notFile reports a missing object with the text of the original.
type notFile struct{ cause error }

func (notFile) Error() string        { return errNotFile.Error() }
func (e notFile) Unwrap() error      { return e.cause }
func (notFile) Is(target error) bool { return target == bank.ErrNotFound }
