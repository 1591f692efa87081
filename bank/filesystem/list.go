// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/bank"
)

// errLimit ends a walk that has found enough keys.
var errLimit = errors.New("limit reached")

type walk struct {
	store    *store
	ctx      context.Context
	options  bank.ListOptions
	start    string // the directory in which the walk begins
	keys     []string
	failures []error // errors of directories below start
}

// root walks the directory in which the walk begins.
func (w *walk) root() error {
	d, err := w.store.open(w.start)
	if err != nil {
		return w.failed(w.start, err)
	}
	defer d.close()
	return w.dir(w.start, d)
}

// failed handles a directory that cannot be listed. It returns nil if the walk continues.
func (w *walk) failed(key string, err error) error {
	err = w.store.failed(filepath.Join(w.store.root, filepath.FromSlash(key))+string(filepath.Separator), err)
	switch {
	case errors.Is(err, bank.ErrNotFound):
		return nil
	case key == w.start, !errors.Is(err, bank.ErrUnusable):
		return err
	}
	w.failures = append(w.failures, err)
	return nil
}

// below walks a directory inside another one.
func (w *walk) below(key string, above directory, name string) error {
	d, err := above.enter(name)
	if err != nil {
		return w.failed(key, err)
	}
	defer d.close()
	return w.dir(key, d)
}

// dir walks a directory. Its key ends with a slash.
func (w *walk) dir(key string, d directory) error {
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	entries, err := d.readDir()
	if err != nil {
		if err := w.failed(key, err); err != nil {
			return err
		}
	}
	// A directory sorts by its name with the slash: "a-b" < "a/" < "a0".
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if strings.ContainsFunc(name, notOfNames) || strings.Contains(name, "..") {
			continue // not a key; the directory of incoming files is skipped here, too
		}
		if e.IsDir() {
			name += "/"
		} else if !e.Type().IsRegular() && e.Type() != fs.ModeSymlink {
			continue
		}
		if w.wanted(w.options.Rolled(key + name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if w.options.Descending {
		slices.Reverse(names)
	}
	for _, name := range names {
		folder, isFolder := strings.CutSuffix(name, "/")
		listed := w.options.Rolled(key + name)
		switch {
		case len(w.keys) > 0 && w.keys[len(w.keys)-1] == listed:
			continue
		case !isFolder:
		case listed == key+name:
			if err := w.below(key+name, d, folder); err != nil {
				return err
			}
			continue
		default: // rolled up into one entry, unless the directory is empty
			inside := walk{store: w.store, ctx: w.ctx, options: bank.ListOptions{Prefix: key + name, Limit: 1}, start: w.start}
			err := inside.below(key+name, d, folder)
			w.failures = append(w.failures, inside.failures...)
			if err != nil && !errors.Is(err, errLimit) {
				return err
			}
			if len(inside.keys) == 0 {
				continue
			}
		}
		w.keys = append(w.keys, listed)
		if w.options.Limit > 0 && len(w.keys) == w.options.Limit {
			return errLimit
		}
	}
	return nil
}

// notOfNames reports whether keys exclude the character. Names with such a character, such as
// lost+found or an editor's backup copy, are not ours and are skipped.
func notOfNames(c rune) bool { return !bank.InKeys(c) || c == '/' }

// wanted reports whether a key is selected or, if it ends with a slash, whether a key below it may
// be.
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
