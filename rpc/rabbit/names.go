// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

// queueSuffix ends the name of a reply or fanout queue: 32 random digits or, with
// the queue manager, host, process and a number.
func (t *Transport) queueSuffix() (string, error) {
	if !t.options.UseQueueManager {
		return rpc.NewID(), nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		c, err := newNameCounter(t.options.Hostname, t.options.ProcessName)
		if err != nil {
			return "", err
		}
		t.names = c
	}
	return t.names.next(), nil
}

// maxProcesses bounds the search for a free place among the processes of a host.
const maxProcesses = 1024

// nameCounter makes queue names that a restarted process finds again and that no
// two living ones share: each process of a name on a host holds the lock of the
// lowest free place.
type nameCounter struct {
	prefix string
	place  int
	count  int
	lock   *os.File
}

func newNameCounter(host, process string) (*nameCounter, error) {
	flat := strings.NewReplacer("/", "_", string(os.PathSeparator), "_").Replace(host + "_" + process)
	for place := range maxProcesses {
		path := filepath.Join(os.TempDir(), fmt.Sprintf("%s_%d_queues.lock", flat, place))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("use_queue_manager: claiming a name: %w", err)
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return &nameCounter{prefix: host + ":" + process, place: place, lock: f}, nil
		}
		_ = f.Close()
	}
	return nil, fmt.Errorf("use_queue_manager: more than %d processes are named %s", maxProcesses, process)
}

// next counts in steps that leave room for the other places.
func (c *nameCounter) next() string {
	n := c.place + c.count*maxProcesses + 1
	c.count++
	return fmt.Sprintf("%s:%d", c.prefix, n)
}

// release gives the place to another process.
func (c *nameCounter) release() {
	if c != nil {
		_ = c.lock.Close()
	}
}

func discard() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}
