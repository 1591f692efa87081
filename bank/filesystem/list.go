// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/karbor-project/karbor/bank"
)

// List implements bank.Plugin. The directories are walked in the order of the
// keys, so that a listing with a marker or a limit reads no more of them than
// it must. As in the original, links to directories are not followed.
func (s *store) List(ctx context.Context, o bank.ListOptions) ([]string, error) {
	start := o.Prefix[:strings.LastIndexByte(o.Prefix, '/')+1]
	if _, err := s.path(ctx, start); err != nil {
		return nil, err
	}
	if start == "" {
		start = "/"
	}
	w := walk{store: s, ctx: ctx, options: o, keys: []string{}}
	if err := w.dir(start); err != nil && !errors.Is(err, errLimit) {
		return nil, err
	}
	return w.keys, nil
}

// errLimit ends a walk that has found enough.
var errLimit = errors.New("limit reached")

type walk struct {
	store   *store
	ctx     context.Context
	options bank.ListOptions
	keys    []string
}

// dir walks a directory, whose key ends with a slash.
func (w *walk) dir(key string) error {
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(w.store.root, filepath.FromSlash(key)))
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	// A directory sorts by its name with the slash: "a-b" < "a/" < "a0".
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if key == "/" && name == incoming {
			continue
		}
		if e.IsDir() {
			name += "/"
		} else if !e.Type().IsRegular() && e.Type() != fs.ModeSymlink {
			continue
		}
		if w.wanted(key + name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if w.options.Descending {
		slices.Reverse(names)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			if err := w.dir(key + name); err != nil {
				return err
			}
			continue
		}
		w.keys = append(w.keys, key+name)
		if w.options.Limit > 0 && len(w.keys) == w.options.Limit {
			return errLimit
		}
	}
	return nil
}

// wanted tells whether a key is selected or, if it ends with a slash, whether
// one below it may be.
func (w *walk) wanted(key string) bool {
	prefix, marker := w.options.Prefix, w.options.Marker
	dir := strings.HasSuffix(key, "/")
	if !strings.HasPrefix(key, prefix) && !(dir && strings.HasPrefix(prefix, key)) {
		return false
	}
	switch {
	case marker == "", dir && strings.HasPrefix(marker, key):
		return true
	case w.options.Descending:
		return key < marker
	}
	return key > marker
}

// missing tells whether err means that there is no such file: the name itself,
// a directory above it, or a name that no file can have.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}
