// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // a checksum, as Swift keeps it
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/guard"
)

var _ bank.Plugin = (*Memory)(nil)

// Memory is a bank in memory. Use NewMemory to create one.
type Memory struct {
	owner string

	mu      sync.Mutex
	objects map[string]Stored
}

// Stored is an object in a Memory bank.
type Stored struct {
	Body       []byte
	Serialized bank.Flag
}

// NewMemory returns an empty bank.
func NewMemory() *Memory {
	return &Memory{owner: uuid.NewString(), objects: map[string]Stored{}}
}

// OwnerID implements bank.Plugin.
func (m *Memory) OwnerID() string { return m.owner }

// Put implements bank.Plugin.
func (m *Memory) Put(ctx context.Context, key string, u bank.Upload) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	from, err := u.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	body, err := io.ReadAll(&reader{ctx: ctx, from: from})
	if err != nil {
		return err
	}
	if int64(len(body)) != u.Size {
		return fmt.Errorf("body has %d bytes instead of %d", len(body), u.Size)
	}
	flag := bank.Raw
	if u.Serialized {
		flag = bank.JSON
	}
	if err := guard.Allowed(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.objects[key]; there && u.New {
		return bank.ErrExists
	}
	m.objects[key] = Stored{Body: body, Serialized: flag}
	return nil
}

// Disown implements bank.Plugin. It has nothing to do, since a write cannot be suspended between
// its last check and the map.
func (m *Memory) Disown(context.Context, string) error { return nil }

// Get implements bank.Plugin.
func (m *Memory) Get(ctx context.Context, key string) (*bank.Object, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return nil, bank.ErrNotFound
	}
	return &bank.Object{
		Body:       io.NopCloser(&reader{ctx: ctx, from: bytes.NewReader(o.Body)}),
		Size:       int64(len(o.Body)),
		Serialized: o.Serialized,
		Version:    o.version(),
	}, nil
}

// version returns the MD5 of the body, as Swift does.
func (o Stored) version() string {
	sum := md5.Sum(o.Body) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// List implements bank.Plugin.
func (m *Memory) List(ctx context.Context, o bank.ListOptions) ([]string, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := o.Select(maps.Keys(m.objects))
	for _, key := range keys {
		if object, ok := m.objects[key]; ok && o.Versions != nil && o.Rolled(key) == key {
			o.Versions[key] = object.version()
		}
	}
	return keys, nil
}

// Delete implements bank.Plugin.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := guard.Allowed(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; !ok {
		return bank.ErrNotFound
	}
	delete(m.objects, key)
	return nil
}

// Close implements bank.Plugin.
func (m *Memory) Close() error { return nil }

// Set stores an object verbatim, including its flag.
func (m *Memory) Set(key string, o Stored) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = o
}

// Objects returns a copy of all objects by key.
func (m *Memory) Objects() map[string]Stored {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.objects)
}

// Keys returns all keys in order.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

// Below returns the keys that begin with prefix, in order.
func (m *Memory) Below(prefix string) []string {
	return slices.DeleteFunc(m.Keys(), func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

// reader stops when its context ends.
type reader struct {
	ctx  context.Context
	from io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
