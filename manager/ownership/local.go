// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/journal"
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
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
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

// bury retires the owners whose process is dead, by their locks, and marks them
// as not live. An owner without a file is of another folder, or gone in order:
// the journal tells about it. The lock is kept meanwhile, so that one buries.
func (k *Keeper) bury(ctx context.Context, owners []journal.Owner) error {
	for i := range owners {
		o := &owners[i]
		if o.ID == k.id || uuid.Validate(o.ID) != nil {
			continue
		}
		file, err := os.OpenFile(lockFile(k.config.Locks, o.ID), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if flock(file) != nil {
			file.Close() // it lives
			continue
		}
		if o.Live {
			if err := k.config.Journal.Retire(ctx, o.ID); err != nil {
				file.Close()
				return fmt.Errorf("retire owner %s, whose process is dead: %w", o.ID, err)
			}
			k.config.Log.WithField("dead_owner_id", o.ID).Info("the process of another worker is dead")
			o.Live = false
		}
		unlockOwner(file)
	}
	return nil
}
