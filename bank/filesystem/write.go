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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/guard"
)

// incoming is the directory, below the root, of files that are being written. It is on the file
// system of the objects, so that a finished file is moved in one step, and outside of all sections,
// so that neither we nor the original list it. No key can name it, since keys do not allow #.
const incoming = "#incoming"

// abandoned is the age from which a file in the incoming directory counts as left behind by a dead
// process.
const abandoned = 48 * time.Hour

// Put implements bank.Plugin. The object and its name are on disk when Put returns. A failure, such
// as a full disk, leaves the old object and no part of the new one.
func (s *store) Put(ctx context.Context, key string, u bank.Upload) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	if err := s.outage(path); err != nil {
		return err
	}
	s.sweep.Do(s.removeAbandoned)
	from, err := s.create(incoming)
	if err != nil {
		return err
	}
	defer from.close()
	if s.identity.known() == "" {
		if err := s.mark(ctx, from); err != nil {
			return fmt.Errorf("marking the bank: %w", err)
		}
	}
	s.identity.note()
	temp, err := s.write(ctx, from, u)
	if err != nil {
		return err
	}
	if err := s.install(ctx, from, temp, key, u.New); err != nil {
		_ = from.remove(temp, 0) // otherwise removeAbandoned removes it later
		folder, _ := split(key)
		s.prune(folder)
		return err
	}
	s.seen.Store(true)
	return nil
}

// mark gives the bank its marker, unless another worker has done so first.
func (s *store) mark(ctx context.Context, from directory) error {
	id := uuid.NewString() + "\n"
	temp, err := s.write(ctx, from, bank.Upload{Open: bank.Bytes([]byte(id)), Size: int64(len(id))})
	if err != nil {
		return err
	}
	if err := s.install(ctx, from, temp, "/"+markerName, true); err != nil {
		_ = from.remove(temp, 0) // otherwise removeAbandoned removes it later
		if !errors.Is(err, bank.ErrExists) {
			return err
		}
	}
	return s.unusable(s.root)
}

// incomingName returns the prefix of the names of incoming files of a piece of work.
func incomingName(work string) string { return url.PathEscape(work) + "#" }

// Disown implements bank.Plugin. It removes the incoming files of the work, so that they cannot be
// moved into place, even if their writer was suspended just before the move. A writer that begins a
// file later asks whether it is still allowed before it moves the file.
func (s *store) Disown(_ context.Context, work string) error {
	dir, err := s.open(incoming)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.close()
	name := incomingName(work)
	entries, err := dir.readDir()
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name) {
			if removeErr := dir.remove(e.Name(), 0); !errors.Is(removeErr, fs.ErrNotExist) {
				err = errors.Join(err, removeErr)
			}
		}
	}
	return err
}

// write writes the body into a new file of the directory and returns the file's name.
func (s *store) write(ctx context.Context, dir directory, u bank.Upload) (_ string, err error) {
	name := incomingName(bank.Work(ctx)) + uuid.NewString()
	file, err := dir.openFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			_ = dir.remove(name, 0) // otherwise removeAbandoned removes it later
		}
	}()
	body, err := u.Open()
	if err != nil {
		return "", err
	}
	defer body.Close()
	n, err := io.Copy(file, &reader{ctx: ctx, body: body})
	if err != nil {
		return "", err
	}
	if n != u.Size {
		return "", fmt.Errorf("body has %d bytes instead of %d", n, u.Size)
	}
	if err := file.Chmod(s.mode); err != nil {
		return "", err
	}
	return name, file.Sync()
}

// install moves a file into place and forces the directory to disk.
func (s *store) install(ctx context.Context, from directory, temp, key string, isNew bool) error {
	// Forcing the file to disk took time, in which the caller may have lost the right to write, or
	// its context may have ended.
	if err := errors.Join(context.Cause(ctx), guard.Allowed(ctx)); err != nil {
		return err
	}
	folder, name := split(key)
	move := func(open func(string) (directory, error)) error {
		to, err := open(folder)
		if err != nil {
			return err
		}
		defer to.close()
		if err := guard.Allowed(ctx); err != nil {
			return err
		}
		rename := rename
		if isNew {
			rename = renameNew
		}
		if err := rename(from, temp, to, name); err != nil {
			return &os.LinkError{Op: "rename", Old: temp, New: filepath.Join(to.path, name), Err: err}
		}
		return to.sync()
	}
	err := move(s.open)
	// A concurrent deletion may remove the directory between the two steps.
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ {
		err = move(s.create)
	}
	if errors.Is(err, fs.ErrExist) && isNew {
		return fmt.Errorf("%s: %w", filepath.Join(s.root, key), bank.ErrExists)
	}
	return err
}

func rename(from directory, temp string, to directory, name string) error {
	return unix.Renameat(from.fd, temp, to.fd, name)
}

// renameNew moves a file to a name that must not exist, by the first method that the file system
// supports.
func renameNew(from directory, temp string, to directory, name string) error {
	return moveNew(from, temp, to, name, link, renameNoReplace, lookAndRename)
}

type mover func(from directory, temp string, to directory, name string) error

func moveNew(from directory, temp string, to directory, name string, ways ...mover) (err error) {
	for _, move := range ways {
		err = move(from, temp, to, name)
		if !slices.ContainsFunc(unsupported, func(target error) bool { return errors.Is(err, target) }) {
			return err
		}
	}
	return err
}

// unsupported are the errors by which file systems reject a method that they do not support.
var unsupported = []error{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS, syscall.EINVAL, syscall.EMLINK}

func link(from directory, temp string, to directory, name string) error {
	if err := unix.Linkat(from.fd, temp, to.fd, name, 0); err != nil {
		return err
	}
	_ = from.remove(temp, 0) // otherwise removeAbandoned removes it later
	return nil
}

// lookAndRename is for file systems without hard links, where a rename always replaces. A
// concurrent writer of the same object between the two steps is overwritten.
func lookAndRename(from directory, temp string, to directory, name string) error {
	err := unix.Fstatat(to.fd, name, new(unix.Stat_t), unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		return syscall.EEXIST
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return rename(from, temp, to, name)
}

// removeAbandoned removes files that dead processes left in the incoming directory.
func (s *store) removeAbandoned() {
	dir, err := s.open(incoming)
	if err != nil {
		return // the directory does not exist yet, or the next write will report the error
	}
	defer dir.close()
	entries, err := dir.readDir()
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < abandoned {
			continue
		}
		if err := dir.remove(e.Name(), 0); err == nil {
			s.log.WithField("file", e.Name()).Info("removed a file that was left half written")
		}
	}
}

// reader stops when its context ends.
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
