// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// searchOnly opens a directory for what lies in it: it need not be readable.
const searchOnly = unix.O_PATH | unix.O_DIRECTORY

// ofOneFileHere is more of ofOneFile.
var ofOneFileHere = []error{syscall.EUCLEAN, syscall.EREMOTEIO, syscall.ENOKEY}

// openBeneath opens a path below a directory, with no symbolic link on the way. Kernels
// before 5.6 cannot.
func openBeneath(fd int, path string, flag uint64) (int, error) {
	return unix.Openat2(fd, path, &unix.OpenHow{
		Flags: flag | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
	})
}

// renameNoReplace moves a file to a place where there is none, in one step.
func renameNoReplace(from directory, temp string, to directory, name string) error {
	return unix.Renameat2(from.fd, temp, to.fd, name, unix.RENAME_NOREPLACE)
}
