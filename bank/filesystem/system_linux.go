// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// searchOnly opens a directory for lookups only, so the directory need not be readable.
const searchOnly = unix.O_PATH | unix.O_DIRECTORY

// ofOneFileHere extends ofOneFile on this system.
var ofOneFileHere = []error{syscall.EUCLEAN, syscall.EREMOTEIO, syscall.ENOKEY}

// openBeneath opens a path below a directory and refuses symbolic links on the way. Kernels before
// 5.6 do not support this.
func openBeneath(fd int, path string, flag uint64) (int, error) {
	return unix.Openat2(fd, path, &unix.OpenHow{
		Flags: flag | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
	})
}

// renameNoReplace atomically moves a file to a name that must not exist.
func renameNoReplace(from directory, temp string, to directory, name string) error {
	return unix.Renameat2(from.fd, temp, to.fd, name, unix.RENAME_NOREPLACE)
}
