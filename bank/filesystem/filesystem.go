// SPDX-License-Identifier: Apache-2.0

// Package filesystem is a bank in a directory, such as an NFS mount. An object
// is the file <path>/<container><key> and holds nothing but the body: there is
// no flag beside it. Banks that the original wrote are read as they are.
package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
)

// Permissions are what the original gets from its umask of 022.
//
// karbor: file_system_bank_plugin.py
const (
	dirMode  = 0o755
	fileMode = 0o644
)

// Config of a bank.
type Config struct {
	Path      string // the directory of all containers
	Container string // the directory of the bank in it
}

// store implements bank.Plugin.
type store struct {
	root  string
	owner string
	log   logrus.FieldLogger
	sweep sync.Once
	seen  atomic.Bool // the root has been there
}

var _ bank.Plugin = (*store)(nil)

// New returns the bank of cfg. Directories are made when something is written.
// The bank has no lease; each instance has an owner id of its own. A nil log
// discards.
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
	if log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		log = silent
	}
	return &store{root: root, owner: uuid.NewString(), log: log}, nil
}

// OwnerID implements bank.Plugin.
func (s *store) OwnerID() string { return s.owner }

// Close implements bank.Plugin.
func (s *store) Close() error { return nil }

// Get implements bank.Plugin.
func (s *store) Get(ctx context.Context, key string) (*bank.Object, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return nil, err
	}
	// A pipe would wait for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, s.failed(path, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s", errNotFile, path)
	}
	if err != nil {
		file.Close()
		return nil, s.failed(path, err)
	}
	s.seen.Store(true)
	return &bank.Object{
		Body: &body{ctx: ctx, store: s, file: file, left: info.Size()},
		Size: info.Size(),
	}, nil
}

// Delete implements bank.Plugin. Directories that become empty are removed,
// too; the original leaves all but the first. It is not forced to disk: an
// object that is back after a crash is deleted by the same operation again.
func (s *store) Delete(ctx context.Context, key string) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return s.failed(path, fmt.Errorf("%w: %s", errNotFile, path))
	}
	if err := guard.Allowed(ctx); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return s.failed(path, err)
	}
	s.prune(filepath.Dir(path))
	return nil
}

// prune removes dir and the directories above it as far as they are empty.
func (s *store) prune(dir string) {
	for len(dir) > len(s.root) && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
}

// path returns the file of a key.
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

// body is a file that notices when it ends too early or the caller gives up.
type body struct {
	ctx   context.Context
	store *store
	file  *os.File
	left  int64
}

func (b *body) Read(p []byte) (int, error) {
	if err := context.Cause(b.ctx); err != nil {
		return 0, err
	}
	n, err := b.file.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		err = b.store.failed(b.file.Name(), err)
	}
	return n, err
}

func (b *body) Close() error { return b.file.Close() }
