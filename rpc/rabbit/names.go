// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// lockFolder returns a folder where the processes of a host see each other's locks. It
// is not the temporary folder, since a service often has its own.
// oslo.messaging: amqpdriver.py QManager
func lockFolder() string {
	const shared = "/dev/shm"
	if info, err := os.Stat(shared); err == nil && info.IsDir() {
		return shared
	}
	return os.TempDir()
}

// maxProcesses bounds the search for a free place among the processes of a host.
const maxProcesses = 1024

// nameCounter generates queue names that a restarted process uses again and that no two
// running processes share: each process of a name on a host locks the lowest free
// place.
type nameCounter struct {
	prefix string
	place  int
	lock   *os.File

	mu    sync.Mutex
	count int
}

func newNameCounter(folder, host, process string) (*nameCounter, error) {
	flat := strings.NewReplacer("/", "_", string(os.PathSeparator), "_").Replace(host + "_" + process)
	var problem error
	for place := range maxProcesses {
		path := filepath.Join(folder, fmt.Sprintf("%s_%d_queues.lock", flat, place))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrPermission) { // another user's
			problem = err
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("use_queue_manager: claiming a name: %w", err)
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return &nameCounter{prefix: host + ":" + process, place: place, lock: f}, nil
		}
		_ = f.Close()
	}
	return nil, errors.Join(fmt.Errorf("use_queue_manager: no free place in %s for one of %d processes named %s",
		folder, maxProcesses, process), problem)
}

// next returns the next name. Numbers grow in steps that leave room for other places.
func (c *nameCounter) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.place + c.count*maxProcesses + 1
	c.count++
	return fmt.Sprintf("%s:%d", c.prefix, n)
}

// skip leaves out a random count of numbers, because another process that took the last
// number at the same time does so too.
func (c *nameCounter) skip() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count += rand.IntN(maxSkip)
}

// maxSkip bounds the numbers that skip leaves out.
const maxSkip = 16

// release frees the place for another process.
func (c *nameCounter) release() {
	if c != nil {
		_ = c.lock.Close()
	}
}
