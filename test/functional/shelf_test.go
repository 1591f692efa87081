// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

// shelf is what lies in a bank, seen from beside the service.
type shelf interface {
	// objects are all objects by key.
	objects() map[string][]byte
	// put writes an object as the original does.
	put(key, body, serialized string)
	// clear removes them.
	clear()
	// leases tells of owners whether their leases, if they are there, end by
	// themselves.
	leases(owners []string) map[string]bool
}

// folderShelf is that of a bank in a folder.
type folderShelf struct {
	t    testing.TB
	path string
}

func (f folderShelf) objects() map[string][]byte {
	f.t.Helper()
	root, objects := filepath.Join(f.path, "karbor"), map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it is removed at this moment
		}
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		objects[strings.TrimPrefix(path, root)] = text
		return err
	})
	must(f.t, err)
	for key := range objects {
		if strings.HasPrefix(key, "/#") { // no keys; what a put that was killed has left is swept later
			delete(objects, key)
		}
	}
	return objects
}

func (f folderShelf) put(key, body, _ string) {
	f.t.Helper()
	path := filepath.Join(f.path, "karbor", key)
	must(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(f.t, os.WriteFile(path, []byte(body), 0o644))
}

func (f folderShelf) clear() {
	f.t.Helper()
	for _, below := range []string{"checkpoints", "indices"} { // the marker of the bank stays
		must(f.t, os.RemoveAll(filepath.Join(f.path, "karbor", below)))
	}
}

func (folderShelf) leases([]string) map[string]bool { return nil }

// swiftShelf is that of a bank in Swift.
type swiftShelf struct {
	*account
	bank string // the container
}

func (s swiftShelf) objects() map[string][]byte {
	s.t.Helper()
	var mu sync.Mutex
	objects := map[string][]byte{}
	var group errgroup.Group
	group.SetLimit(8)
	for _, key := range s.list(s.bank) {
		group.Go(func() error {
			body, err := s.fetch(at(s.bank, key))
			if errors.Is(err, errNoObject) {
				return nil // a listing may be a moment behind the objects
			}
			mu.Lock()
			defer mu.Unlock()
			objects[key] = body
			return err
		})
	}
	must(s.t, group.Wait())
	return objects
}

var errNoObject = errors.New("there is no such object")

// fetch is get for other goroutines than that of the test.
func (a *account) fetch(path string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, a.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Auth-Token", a.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return io.ReadAll(resp.Body)
	case http.StatusNotFound:
		return nil, errNoObject
	}
	return nil, fmt.Errorf("get %s: %s", path, resp.Status)
}

func (s swiftShelf) put(key, body, serialized string) {
	s.t.Helper()
	s.account.put(s.bank, key, body, serialized)
}

func (s swiftShelf) clear() {
	s.t.Helper()
	s.empty(s.bank)
}

func (s swiftShelf) leases(owners []string) map[string]bool {
	s.t.Helper()
	there := map[string]bool{}
	for _, owner := range owners {
		switch status, header, _ := s.request(http.MethodHead, "/leases/"+owner, nil, nil); status {
		case http.StatusNotFound:
		case http.StatusOK:
			there[owner] = header.Get("X-Delete-At") != ""
		default:
			s.t.Errorf("lease of %s: status %d", owner, status)
		}
	}
	return there
}
