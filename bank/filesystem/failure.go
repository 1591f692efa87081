// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/karbor-project/karbor/bank"
)

// ofOneFile are errors that may concern a single file or directory. All other errors, such as too
// many open files, concern the whole bank.
var ofOneFile = []error{
	syscall.EACCES, syscall.EPERM, // mode or attributes
	syscall.ELOOP, syscall.ENOTDIR, syscall.EISDIR, syscall.ENXIO, syscall.ENODEV, syscall.EINVAL, // not a regular file or directory
	syscall.EIO, syscall.EBADMSG, syscall.ENODATA, // bad blocks and checksums
	syscall.ESTALE, syscall.EOVERFLOW,
	errNotFile, io.ErrUnexpectedEOF,
}

// errNotFile has the text of the original.
var errNotFile = errors.New("Object is not a file") //nolint:staticcheck // shown to users as it is

// missing reports whether err means that a file does not exist: the name itself or a directory
// above it is absent, or no file can have the name.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// linked reports whether a symbolic link is on the way from root to path. The target of a link may
// be anything and is never examined.
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
