// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package filesystem

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// searchOnly opens a directory for lookups.
const searchOnly = unix.O_RDONLY | unix.O_DIRECTORY

// ofOneFileHere extends ofOneFile on this system.
var ofOneFileHere []error

// openBeneath is not supported here; callers follow paths one name at a time.
func openBeneath(int, string, uint64) (int, error) { return -1, syscall.ENOSYS }

// renameNoReplace is not supported here.
func renameNoReplace(directory, string, directory, string) error { return syscall.ENOSYS }
