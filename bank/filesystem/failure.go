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
