// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package filesystem

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// searchOnly opens a directory for what lies in it.
const searchOnly = unix.O_RDONLY | unix.O_DIRECTORY

// ofOneFileHere is more of ofOneFile.
var ofOneFileHere []error

// openBeneath is not known here: paths are followed one name at a time.
func openBeneath(int, string, uint64) (int, error) { return -1, syscall.ENOSYS }

// renameNoReplace is not known here.
func renameNoReplace(directory, string, directory, string) error { return syscall.ENOSYS }
