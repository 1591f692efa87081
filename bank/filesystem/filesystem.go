// SPDX-License-Identifier: Apache-2.0

// Package filesystem is a bank in a directory, such as an NFS mount. An object is the file
// <path>/<container><key> and holds only the body; no flag is stored with it. Banks that the
// original wrote are readable.
package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// Config of a bank.
type Config struct {
	Path      string // the directory of all containers
	Container string // the directory of the bank within Path
	// Mode of the files; 0: 0600. Whoever may read the files may also search the directories.
	Mode os.FileMode
}

// store implements bank.Plugin.
type store struct {
	root  string
	owner string
	mode  os.FileMode // of files
	log   logrus.FieldLogger
	sweep sync.Once
	seen  atomic.Bool // the root has existed

	identity identity

	settled time.Duration // see version
}

var (
	_ bank.Plugin = (*store)(nil)
	_ bank.Local  = (*store)(nil)
)

// New returns the bank of cfg. Directories are created on the first write. The bank has no lease;
// each instance has an owner id of its own. A nil log discards.
func New(cfg Config, log logrus.FieldLogger) (bank.Plugin, error) {
	if cfg.Path == "" {
		return nil, errors.New("file system bank: file_system_bank_path is not set")
	}
	if cfg.Container == "" || !filepath.IsLocal(cfg.Container) {
		return nil, fmt.Errorf("file system bank: bank_object_container %q is not the name of a directory", cfg.Container)
	}
	root, err := filepath.Abs(filepath.Join(cfg.Path, cfg.Container))
	if err != nil {
		return nil, fmt.Errorf("file system bank: %w", err)
	}
	if cfg.Mode == 0 {
		cfg.Mode = defaultMode
	}
	if cfg.Mode&0o600 != 0o600 || cfg.Mode&^0o666 != 0 {
		return nil, fmt.Errorf("file system bank: bank_object_mode %04o is not the mode of a file that its owner can read and write", cfg.Mode)
	}
	log = telemetry.OrDiscard(log)
	return &store{root: root, owner: uuid.NewString(), mode: cfg.Mode, log: log, settled: settled, identity: identity{root: root, log: log}}, nil
}

// defaultMode is the mode of files. Only the workers may read backups.
const defaultMode = 0o600

// dirMode returns the mode of directories, which adds search permission for everyone who may read
// the files.
func (s *store) dirMode() os.FileMode { return s.mode | s.mode&0o444>>2 }

// OwnerID implements bank.Plugin.
func (s *store) OwnerID() string { return s.owner }

// Close implements bank.Plugin.
func (s *store) Close() error { return nil }

// Writable implements bank.Local. It does not create a bank that was never written to.
func (s *store) Writable() error {
	if err := s.unusable(s.root); err != nil {
		return err
	}
	if err := Writable(s.root); err != nil {
		return fmt.Errorf("bank %s cannot be written to: %w", s.root, err)
	}
	return nil
}

// Remember implements bank.Local.
func (s *store) Remember(file string) { s.identity.remember(file) }

// Writable returns an error if no file can be created in a folder or, if the folder does not exist,
// in its nearest existing ancestor. It creates a folder there and removes it.
func Writable(dir string) error {
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir)
	}
	made, err := os.MkdirTemp(dir, ".writable-")
	if err != nil {
		return err
	}
	return os.Remove(made)
}

// Get implements bank.Plugin.
func (s *store) Get(ctx context.Context, key string) (*bank.Object, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	fd, err := s.openObject(key, &stat)
	if err != nil {
		return nil, s.failed(path, err)
	}
	s.seen.Store(true)
	return &bank.Object{
		Body:    &body{ctx: ctx, store: s, fd: fd, path: path, left: stat.Size},
		Size:    stat.Size,
		Version: s.version(&stat),
	}, nil
}

// settled is the minimum age at which the times of a file identify its content. A file that was
// changed more recently may change again without a trace: file systems have timestamps of up to two
// seconds' resolution, reuse the inode number of a replaced file, and may be on a machine whose
// clock is late.
const settled = time.Minute

// version returns the version of an open file. It uses the time of the last change (ctime), which
// nobody can set and every change to the file or its name updates. Opening a file makes a network
// file system fetch its current state; stat on the name alone need not.
func (s *store) version(stat *unix.Stat_t) string {
	if time.Since(time.Unix(stat.Ctim.Unix())) < s.settled {
		return ""
	}
	return fmt.Sprint(stat.Dev, stat.Ino, stat.Size, stat.Mtim.Nano(), stat.Ctim.Nano())
}

// readOnly opens an object without blocking, since a pipe in its place would wait for a writer.
const readOnly = unix.O_RDONLY | unix.O_NONBLOCK

// openObject opens the file of a key and reads its status.
func (s *store) openObject(key string, stat *unix.Stat_t) (int, error) {
	root, err := s.open("")
	if err != nil {
		return -1, err
	}
	fd, err := openBeneath(root.fd, strings.Trim(key, "/"), readOnly)
	root.close()
	if err != nil { // resolve step by step to learn where it fails
		folder, name := split(key)
		d, err := s.open(folder)
		if err != nil {
			return -1, err
		}
		fd, err = openat(d.fd, name, readOnly|unix.O_NOFOLLOW, 0)
		d.close()
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: filepath.Join(d.path, name), Err: err}
		}
	}
	if err = unix.Fstat(fd, stat); err == nil && stat.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNotFile
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, &fs.PathError{Op: "stat", Path: filepath.Join(s.root, key), Err: err}
	}
	return fd, nil
}

// Delete implements bank.Plugin. The removal is on disk when Delete returns, since an operation
// that has ended is not repeated after a crash. Delete also removes directories that become empty;
// the original leaves all but the first.
func (s *store) Delete(ctx context.Context, key string) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	folder, name := split(key)
	d, err := s.open(folder)
	if err != nil {
		return s.failed(path, err)
	}
	defer d.close()
	if err := guard.Allowed(ctx); err != nil {
		return err
	}
	if err := d.remove(name, 0); err != nil {
		if errors.Is(err, syscall.EISDIR) {
			err = fmt.Errorf("%w: %s", errNotFile, path)
		}
		return s.failed(path, err)
	}
	if err := d.sync(); err != nil {
		return s.failed(path, err)
	}
	s.prune(folder)
	return nil
}

// prune removes a directory and its ancestors as far as they are empty.
func (s *store) prune(folder string) {
	for folder = strings.Trim(folder, "/"); folder != ""; {
		above, name := split(folder)
		d, err := s.open(above)
		if err != nil {
			return
		}
		err = d.remove(name, unix.AT_REMOVEDIR)
		d.close()
		if err != nil {
			return
		}
		folder = strings.Trim(above, "/")
	}
}

// path returns the file path of a key.
func (s *store) path(ctx context.Context, key string) (string, error) {
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	if strings.Contains(key, "..") || strings.ContainsAny(key, "\x00#") {
		// karbor: file_system_bank_plugin.py _validate_path, with this text.
		return "", fault.InvalidParameterValue(fmt.Sprintf("The path(%s) is invalid.", key))
	}
	return filepath.Join(s.root, filepath.FromSlash(key)), nil
}

// body is a file of known size. It reports an early end, and stops when the caller's context ends.
// It does not use os.File, which asks the system for each file whether it can be polled.
type body struct {
	ctx   context.Context
	store *store
	fd    int // -1 after Close
	path  string
	left  int64
}

func (b *body) Read(p []byte) (int, error) {
	if err := context.Cause(b.ctx); err != nil {
		return 0, err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := unix.Read(b.fd, p[:min(int64(len(p)), b.left)])
	switch {
	case errors.Is(err, unix.EINTR):
		return 0, nil
	case err == nil && n == 0 && len(p) > 0:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, b.store.failed(b.path, &fs.PathError{Op: "read", Path: b.path, Err: err})
	}
	b.left -= int64(n)
	return n, nil
}

func (b *body) Close() error {
	fd := b.fd
	if b.fd = -1; fd < 0 {
		return fs.ErrClosed
	}
	return unix.Close(fd)
}

// open opens the directory at a path below the root for operations such as rename.
func (s *store) open(path string) (directory, error) {
	fd, err := openat(unix.AT_FDCWD, s.root, searchOnly, 0)
	if err != nil {
		return directory{}, &fs.PathError{Op: "open", Path: s.root, Err: err}
	}
	d := directory{fd, s.root}
	if path = strings.Trim(path, "/"); path == "" {
		return d, nil
	}
	fd, err = openBeneath(d.fd, path, searchOnly)
	if err != nil { // resolve step by step to learn where it fails
		return d.follow(path)
	}
	d.close()
	return directory{fd, filepath.Join(d.path, path)}, nil
}

// create opens the directory at a path below the root. It creates missing directories and forces
// their entries to disk.
func (s *store) create(path string) (directory, error) {
	if err := os.MkdirAll(s.root, s.dirMode()); err != nil {
		return directory{}, err
	}
	d, err := s.open("")
	if err != nil {
		return d, err
	}
	for name := range parts(path) {
		made := unix.Mkdirat(d.fd, name, uint32(s.dirMode()))
		if made == nil {
			made = errors.Join(d.chmod(name, s.dirMode()), d.sync())
		} else if errors.Is(made, fs.ErrExist) {
			made = nil
		}
		if made != nil {
			d.close()
			return d, &fs.PathError{Op: "mkdir", Path: filepath.Join(d.path, name), Err: made}
		}
		if d, err = d.follow(name); err != nil {
			return d, err
		}
	}
	return d, nil
}

// failed classifies the error of an operation on path as bank.Plugin requires. A file may be
// refused because all files are, so failed examines the bank before it blames the file.
func (s *store) failed(path string, err error) error {
	gone := missing(err)
	itself := func(target error) bool { return errors.Is(err, target) }
	if !gone && !slices.ContainsFunc(ofOneFile, itself) && !slices.ContainsFunc(ofOneFileHere, itself) {
		return err
	}
	if outage := s.outage(path); outage != nil {
		return outage
	}
	if gone && !linked(s.root, path) {
		return notFile{err}
	}
	return fmt.Errorf("%w: %w", bank.ErrUnusable, err)
}

// outage returns why nothing in the bank, or in the section of path, can be used. It returns nil
// for a bank that was never written to.
func (s *store) outage(path string) error {
	if err := s.unusable(s.root); err != nil {
		return err
	}
	section, _, below := strings.Cut(strings.TrimPrefix(path, s.root+string(filepath.Separator)), string(filepath.Separator))
	if !below {
		return nil
	}
	return s.unusable(filepath.Join(s.root, section))
}

// unusable returns why a directory that everything depends on cannot be used, or nil.
func (s *store) unusable(dir string) error {
	links := unix.O_NOFOLLOW
	if dir == s.root {
		links = 0
	}
	known := s.identity.known()
	seen := s.seen.Load() || known != ""
	fd, err := openat(unix.AT_FDCWD, dir, searchOnly|links, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if linked(filepath.Dir(dir), dir) || dir == s.root && seen {
			return fmt.Errorf("the bank is not there, is it mounted?: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("the bank cannot be used: %w", err)
	}
	d := directory{fd, dir}
	defer d.close()
	// Looking up the dot requires permission to search the directory.
	if err := unix.Fstatat(fd, ".", new(unix.Stat_t), 0); err != nil {
		return fmt.Errorf("the bank cannot be used: searching %s: %w", dir, err)
	}
	if dir == s.root {
		s.seen.Store(true)
		if err := s.identity.check(d, known); err != nil {
			return err
		}
	}
	file, err := d.openFile(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil // search permission is sufficient
	}
	if err == nil {
		_, err = file.Readdirnames(1)
		file.Close()
	}
	if err != nil && err != io.EOF {
		return fmt.Errorf("the bank cannot be used: %w", err)
	}
	return nil
}

// List implements bank.Plugin. It walks the directories in the order of the keys, so that a listing
// with a marker or a limit reads no more directories than necessary. It does not follow links.
func (s *store) List(ctx context.Context, o bank.ListOptions) ([]string, error) {
	start := o.Prefix[:strings.LastIndexByte(o.Prefix, '/')+1]
	if _, err := s.path(ctx, start); err != nil {
		return nil, err
	}
	if start == "" {
		start = "/"
	}
	w := walk{store: s, ctx: ctx, options: o, start: start, keys: []string{}}
	if err := w.root(); err != nil && !errors.Is(err, errLimit) {
		return nil, err
	}
	if len(w.keys) > 0 {
		s.seen.Store(true)
	}
	if len(w.failures) > 0 {
		return w.keys, &bank.PartialError{Failures: w.failures}
	}
	return w.keys, nil
}
