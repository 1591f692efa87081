// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// markerName is a file with an id in the root of each bank that was written to. If a root that had
// the marker lacks it, a mount is missing and the root is the directory beneath it. No key can name
// the file, and neither we nor the original list it. A bank of the original has no marker until we
// write to it.
const markerName = "#bank"

// identity checks that the bank at a path is still the same one.
type identity struct {
	root string
	log  logrus.FieldLogger

	mu    sync.Mutex
	id    string // of the bank that was seen here; empty if none
	file  string // where this machine records the id; empty for nowhere
	noted string // content of the file
}

// remember reads which bank a previous process saw here. The file has the id and the path of the
// bank; a record for another path is ignored, since the configuration has changed.
func (i *identity) remember(file string) {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.log.Warnf("not known whether the bank %s was used before: %v", i.root, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.file = file
	if id, root, ok := strings.Cut(strings.TrimSuffix(string(text), "\n"), " "); ok && root == i.root {
		i.id, i.noted = id, id
	}
}

// known returns the id of the bank that was seen here, or "".
func (i *identity) known() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id
}

// check fails if root is not the bank known, an id that was read before root was opened, since
// another writer may have marked the bank meanwhile. The first bank that is seen is adopted.
func (i *identity) check(root directory, known string) error {
	id, err := readMarker(root)
	if errors.Is(err, fs.ErrPermission) {
		return nil // at least the root exists
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the bank cannot be used: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.id == "" {
		i.id = id
	}
	switch {
	case id == i.id || id == known:
		return nil
	case id == "":
		return fmt.Errorf("the bank is not there, is it mounted?: %s has no file %s, and had one%s", i.root, markerName, i.excuse())
	}
	return fmt.Errorf("another bank is mounted: the file %s of %s has the id %.40q, and had %q%s", markerName, i.root, id, i.id, i.excuse())
}

// note records the bank for later processes.
func (i *identity) note() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.file == "" || i.noted == i.id {
		return
	}
	err := os.MkdirAll(filepath.Dir(i.file), 0o755) // nolint:gosec // not a secret, and whoever repairs a bank may create it
	if err == nil {
		err = os.WriteFile(i.file, []byte(i.id+" "+i.root+"\n"), 0o644) //nolint:gosec // likewise
	}
	if err != nil {
		i.log.Warnf("after a restart it will not be known that the bank %s was used: %v", i.root, err)
	}
	i.noted = i.id
}

// excuse tells the operator what to do if the change is intended.
func (i *identity) excuse() string {
	if i.file == "" {
		return ""
	}
	return fmt.Sprintf("; if this is right, remove %s and restart", i.file)
}

// readMarker returns the id of the bank at root.
func readMarker(root directory) (string, error) {
	file, err := root.openFile(markerName, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 100))
	id := strings.TrimSpace(string(text))
	if err == nil && id == "" {
		err = fmt.Errorf("%s has no id in it", file.Name())
	}
	return id, err
}
