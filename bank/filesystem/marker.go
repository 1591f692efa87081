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

// markerName is a file in the root of each bank that was written to, with an id: a folder
// without it, in the place of one that had it, is the one below a mount that is missing. No key can
// name it, and neither we nor the original list it. A bank of the original has none until it
// is written to.
const markerName = "#bank"

// identity tells whether the bank at a path is still the same one.
type identity struct {
	root string
	log  logrus.FieldLogger

	mu    sync.Mutex
	id    string // of the bank that was seen here; "": none
	file  string // where this machine remembers it; "": nowhere
	noted string // what is in the file
}

// remember reads which bank was seen here before this process began: the file has its id and
// path. A bank at another path is what the configuration says now.
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

// known returns the id of the bank that was seen here, "" if none was.
func (i *identity) known() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id
}

// check fails if the root is not that of the bank that was known before the root was
// opened: meanwhile another writer may have marked it. The first bank that is seen is it.
func (i *identity) check(root directory, known string) error {
	id, err := readMarker(root)
	if errors.Is(err, fs.ErrPermission) {
		return nil // it is there, at least
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

// note keeps for processes to come what is written to.
func (i *identity) note() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.file == "" || i.noted == i.id {
		return
	}
	err := os.MkdirAll(filepath.Dir(i.file), 0o755) //nolint:gosec // it is no secret, and whoever repairs a bank may make it
	if err == nil {
		err = os.WriteFile(i.file, []byte(i.id+" "+i.root+"\n"), 0o644) //nolint:gosec // likewise
	}
	if err != nil {
		i.log.Warnf("after a restart it will not be known that the bank %s was used: %v", i.root, err)
	}
	i.noted = i.id
}

// excuse says what to do if all is right.
func (i *identity) excuse() string {
	if i.file == "" {
		return ""
	}
	return fmt.Sprintf("; if this is right, remove %s and restart", i.file)
}

// readMarker returns the id of a bank.
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
