// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile returns the file whose lock (flock) a run holds as long as it lives. The kernel frees
// the lock however the process ends, and keeps it while the process is stopped.
func lockFile(dir, id string) string { return filepath.Join(dir, id+".lock") }

// lockOwner takes the lock of a run before the run is announced.
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

// unlockOwner frees a lock and removes its file. Ids are never reused, so nobody creates the file
// again.
func unlockOwner(lock *os.File) {
	_ = os.Remove(lock.Name()) // if this fails, an empty file remains
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
