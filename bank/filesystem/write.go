// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/guard"
)

// incoming is the directory, below the root, of files that are being written.
// It is on the file system of the objects, so that a file moves out of it in
// one step, and outside of all sections: neither we nor the original ever list
// it. No key can name it, as # is not allowed in keys.
const incoming = "#incoming"

// abandoned is the age at which a file in the incoming directory was left
// behind by a process that died.
const abandoned = 48 * time.Hour

// Put implements bank.Plugin. The object and its name are on disk when it
// returns. A failure, such as a full disk, leaves the old object and no part
// of the new one.
func (s *store) Put(ctx context.Context, key string, u bank.Upload) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	if err := s.outage(path); err != nil {
		return err
	}
	s.sweep.Do(s.removeAbandoned)
	temp, err := s.write(ctx, u)
	if err != nil {
		return err
	}
	if err := s.install(ctx, temp, path, u.New); err != nil {
		os.Remove(temp)
		s.prune(filepath.Dir(path))
		return err
	}
	s.seen.Store(true)
	return nil
}

// incomingName is how the names of incoming files of a piece of work begin.
func incomingName(work string) string { return url.PathEscape(work) + "#" }

// Disown implements bank.Plugin. It removes the files of the work that are being
// written, which then cannot move to their places: not even if their writer was
// stopped in the instant before that. One who begins a file later asks, before he
// moves it, whether he still may.
func (s *store) Disown(_ context.Context, work string) error {
	dir, name := filepath.Join(s.root, incoming), incomingName(work)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name) {
			if removeErr := os.Remove(filepath.Join(dir, e.Name())); !errors.Is(removeErr, fs.ErrNotExist) {
				err = errors.Join(err, removeErr)
			}
		}
	}
	return err
}

// write writes the body into a new file and returns its path.
func (s *store) write(ctx context.Context, u bank.Upload) (path string, err error) {
	dir, name := filepath.Join(s.root, incoming), incomingName(bank.Work(ctx))
	file, err := os.CreateTemp(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return "", err
		}
		file, err = os.CreateTemp(dir, name)
	}
	if err != nil {
		return "", err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	if _, err := u.Body.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("rewind the body: %w", err)
	}
	n, err := io.Copy(file, &reader{ctx: ctx, body: u.Body})
	if err != nil {
		return "", err
	}
	if n != u.Size {
		return "", fmt.Errorf("body has %d bytes instead of %d", n, u.Size)
	}
	if err := file.Chmod(fileMode); err != nil {
		return "", err
	}
	return file.Name(), file.Sync()
}

// install moves a file to its place and forces the directory to disk.
func (s *store) install(ctx context.Context, temp, path string, isNew bool) error {
	move := os.Rename
	if isNew {
		move = moveNew
	}
	// To force the file to disk took a while, and the caller may have lost the
	// right to write, or given up.
	if err := errors.Join(context.Cause(ctx), guard.Allowed(ctx)); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	err := move(temp, path)
	// A deletion may remove the directory between our two steps.
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ {
		if err := makeDirs(s.root, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := guard.Allowed(ctx); err != nil {
			return err
		}
		err = move(temp, path)
	}
	if errors.Is(err, fs.ErrExist) && isNew {
		return fmt.Errorf("%s: %w", path, bank.ErrExists)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// moveNew moves a file to a place where there must be none.
func moveNew(temp, path string) error {
	err := os.Link(temp, path)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS) {
		// A file system without links. Most of these know this.
		return unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return err
	}
	_ = os.Remove(temp) // else it goes in time
	return nil
}

// makeDirs makes dir and what is missing above it, down from root, and forces
// the new entries to disk.
func makeDirs(root, dir string) error {
	err := os.Mkdir(dir, dirMode)
	if errors.Is(err, fs.ErrNotExist) && len(dir) > len(root) {
		if err := makeDirs(root, filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, dirMode)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir forces the entries of a directory to disk. File systems that cannot
// do that, such as some network ones, do without, and a directory that was
// removed meanwhile has none.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// removeAbandoned removes what dead processes left in the incoming directory.
func (s *store) removeAbandoned() {
	dir := filepath.Join(s.root, incoming)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it is not there yet, or writing into it will tell more
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < abandoned {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err == nil {
			s.log.WithField("file", e.Name()).Info("removed a file that was left half written")
		}
	}
}

// reader stops when the caller gives up.
type reader struct {
	ctx  context.Context
	body io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.body.Read(p)
}
