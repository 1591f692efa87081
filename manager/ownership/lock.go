// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is the file whose lock (flock) a run holds as long as it lives: the
// kernel frees it however the process ends, and keeps it while it is stopped.
func lockFile(dir, id string) string { return filepath.Join(dir, id+".lock") }

// lockOwner takes the lock of a run before it is announced.
func lockOwner(dir, id string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(lockFile(dir, id), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", file.Name(), err)
	}
	return file, nil
}

// unlockOwner frees a lock and removes its file. An id is never used again, so
// nobody makes the file anew.
func unlockOwner(lock *os.File) {
	_ = os.Remove(lock.Name()) // what remains is an empty file
	lock.Close()
}

func flock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			return err
		}
	}
}
