// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/karbor-project/karbor/pkg/fault"
)

// Section is the part of a bank below one path. No key reaches out of it. It is safe for concurrent
// use.
//
// Methods fail with InvalidParameterValue for a key that is not valid, with BankReadonlyViolation
// for a write to a read-only section, and otherwise with the class of the operation:
// BankUpdateObjectFailed, BankGetObjectFailed, BankListObjectsFailed or BankDeleteObjectFailed,
// each naming the key. errors.Is finds ErrNotFound, ErrUnusable, ErrAltered and the cause of a
// cancelled context in them.
type Section struct {
	bank     *Bank
	prefix   string // begins and ends with a slash
	writable bool
	digests  Digests // nil: none
}

// Path returns the path of the section, with a slash at both ends.
func (s *Section) Path() string { return s.prefix }

// Writable reports whether the section accepts writes.
func (s *Section) Writable() bool { return s.writable }

// ReadOnly returns the same section without write access.
func (s *Section) ReadOnly() *Section {
	return &Section{bank: s.bank, prefix: s.prefix, digests: s.digests}
}

// Section returns the part below path, with the write access of s.
func (s *Section) Section(path string) (*Section, error) {
	below, err := normalSection(path)
	if err != nil {
		return nil, err
	}
	return &Section{bank: s.bank, prefix: s.prefix + strings.TrimPrefix(below, "/"), writable: s.writable, digests: s.digests}, nil
}

// PutJSON stores a value as JSON in Python's style. The keys keep the order that encoding/json
// gives them.
func (s *Section) PutJSON(ctx context.Context, key string, v any) error {
	return s.putJSON(ctx, key, v, false)
}

func (s *Section) putJSON(ctx context.Context, key string, v any, isNew bool) error {
	text, err := marshal(v)
	if err != nil {
		return fault.BankUpdateObjectFailed(s.prefix+key, "value is not JSON: "+err.Error()).WithCause(err)
	}
	if len(text) > maxHeld {
		return fault.BankUpdateObjectFailed(s.prefix+key, fmt.Sprintf("it would have %d bytes, %d are the most", len(text), maxHeld))
	}
	return s.Put(ctx, key, Upload{Open: Bytes(text), Size: int64(len(text)), Serialized: true, New: isNew})
}

// CreateJSON stores a value as PutJSON does, provided that no object exists under key. Otherwise it
// fails with ErrExists, even if the object is its own, from an attempt whose response was lost.
func (s *Section) CreateJSON(ctx context.Context, key string, v any) error {
	return s.putJSON(ctx, key, v, true)
}

// PutText stores a text verbatim.
func (s *Section) PutText(ctx context.Context, key, text string) error {
	return s.PutBytes(ctx, key, []byte(text))
}

// PutBytes stores bytes verbatim.
func (s *Section) PutBytes(ctx context.Context, key string, data []byte) error {
	return s.Put(ctx, key, Upload{Open: Bytes(data), Size: int64(len(data))})
}

// Put stores an object verbatim.
func (s *Section) Put(ctx context.Context, key string, u Upload) error {
	if !u.Serialized && u.Size >= bulkSize {
		done, err := s.bank.stream(ctx)
		if err != nil {
			return fault.BankUpdateObjectFailed(s.prefix+key, err.Error()).WithCause(err)
		}
		defer done()
	}
	return s.put(ctx, key, u)
}

func (s *Section) put(ctx context.Context, key string, u Upload) error {
	if !s.writable {
		return fault.BankReadonlyViolation()
	}
	full, err := s.key(key)
	if err != nil {
		return err
	}
	if s.digests == nil || !s.digests.Covers(full) {
		return s.bank.put(ctx, full, u)
	}
	return s.record(ctx, full, u)
}

// CopyFrom copies the object under key from another section, with its bytes and its flag, and
// returns the number of bytes. The object is streamed. The contracts ensure that the copy is
// complete: a body that ends early fails, and so does an upload of another size; stores with
// checksums compare them in both directions.
func (s *Section) CopyFrom(ctx context.Context, from *Section, key string) (int64, error) {
	full, err := from.key(key)
	if err != nil {
		return 0, err
	}
	done, err := from.bank.stream(ctx)
	if err != nil {
		return 0, getFailed(full, err)
	}
	defer done()
	first, err := from.get(ctx, full)
	if err != nil {
		return 0, err
	}
	u := Upload{Size: first.Size, Serialized: first.Serialized == JSON}
	if u.Size < 0 {
		u.Size, err = io.Copy(io.Discard, first.Body)
		first.Body.Close()
		if first = nil; err != nil {
			return 0, getFailed(full, err)
		}
	}
	u.Open = func() (io.ReadCloser, error) {
		o := first // an attempt consumes first
		if first = nil; o == nil {
			var err error
			if o, err = from.get(ctx, full); err != nil {
				return nil, err
			}
		}
		return &namedBody{key: full, body: o.Body}, nil
	}
	err = s.put(ctx, key, u)
	if first != nil {
		first.Body.Close()
	}
	return u.Size, err
}

// GetJSON decodes the object under key into v as encoding/json does. It decodes any JSON, whatever
// the object's flag says.
func (s *Section) GetJSON(ctx context.Context, key string, v any) error {
	full, data, _, err := s.read(ctx, key, "")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fault.BankGetObjectFailed(full, "not the expected JSON: "+err.Error()).WithCause(err)
	}
	return nil
}

// GetText returns the object under key as a text.
func (s *Section) GetText(ctx context.Context, key string) (string, error) {
	data, err := s.GetBytes(ctx, key)
	return string(data), err
}

// maxHeld is the maximum size in bytes of an object that is held in memory: several times the size
// of a graph of a hundred thousand resources.
const maxHeld = 128 << 20

// maxString is the maximum size in bytes of a JSON string that the original made of data held in
// memory: its largest objects, with an escape for each byte.
const maxString = 512 << 20

// GetBytes returns the bytes that were stored under key, held in memory; Open is for objects of any
// size. GetBytes unwraps bytes that the original stored as a JSON string.
func (s *Section) GetBytes(ctx context.Context, key string) ([]byte, error) {
	data, _, err := s.GetChanged(ctx, key, "")
	return data, err
}

// GetChanged returns the result of GetBytes and its version. known is the version that the caller
// has: if the object still has it, nothing is read and data is nil.
func (s *Section) GetChanged(ctx context.Context, key, known string) (data []byte, version string, err error) {
	full, data, o, err := s.read(ctx, key, known)
	if err != nil {
		return nil, "", err
	}
	if data == nil || o.Serialized != JSON {
		return data, o.Version, nil
	}
	if data, err = unwrap(data); err != nil {
		return nil, "", fault.BankGetObjectFailed(full, err.Error()).WithCause(err)
	}
	return data, o.Version, nil
}

// Open returns a reader of the bytes that were stored under key. The caller closes it and keeps ctx
// alive until then. A stream that breaks off returns an error that names the key. A caller that
// reads several objects at the same time must open them in the order in which it consumes them,
// since Open may wait until others are closed.
func (s *Section) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	full, err := s.key(key)
	if err != nil {
		return nil, err
	}
	done, err := s.bank.stream(ctx)
	if err != nil {
		return nil, getFailed(full, err)
	}
	o, err := s.get(ctx, full)
	if err != nil {
		done()
		return nil, err
	}
	if o.Serialized != JSON {
		return &namedBody{key: full, body: o.Body, done: done}, nil
	}
	// Only the original flags data as JSON, and only in chunks that it held in memory itself.
	defer done()
	defer o.Body.Close()
	data, err := readAll(o, maxString)
	if err != nil {
		return nil, getFailed(full, err)
	}
	plain, err := unwrap(data)
	if err != nil {
		return nil, fault.BankGetObjectFailed(full, err.Error()).WithCause(err)
	}
	return io.NopCloser(bytes.NewReader(plain)), nil
}

// OpenString returns a reader of the JSON string that an object holds, whatever its flag, since a
// folder keeps no flags. It fails for an object that is not a JSON string.
func (s *Section) OpenString(ctx context.Context, key string) (io.ReadCloser, error) {
	full, err := s.key(key)
	if err != nil {
		return nil, err
	}
	o, err := s.get(ctx, full)
	if err != nil {
		return nil, err
	}
	defer o.Body.Close()
	data, err := readAll(o, maxString)
	if err != nil {
		return nil, getFailed(full, err)
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, fault.BankGetObjectFailed(full, "the object is no JSON string").WithCause(err)
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

// List returns keys relative to the section. The prefix and the marker of o are relative, too, so
// that the last key of a page is the marker of the next one. Keys that come with a PartialError are
// valid.
func (s *Section) List(ctx context.Context, o ListOptions) ([]string, error) {
	prefix, err := normalPrefix(o.Prefix)
	if err != nil {
		return nil, err
	}
	o.Prefix = s.prefix + prefix[1:]
	if o.Marker != "" {
		marker, err := normalPrefix(o.Marker)
		if err != nil {
			return nil, err
		}
		o.Marker = s.prefix + marker[1:]
	}
	keys, err := s.bank.list(ctx, o)
	for i, key := range keys {
		relative, ok := strings.CutPrefix(key, s.prefix)
		if !ok {
			return nil, fault.BankListObjectsFailed(fmt.Sprintf("store listed %q below %q", key, s.prefix))
		}
		keys[i] = relative
	}
	return keys, err
}

// Delete removes the object under key.
func (s *Section) Delete(ctx context.Context, key string) error {
	if !s.writable {
		return fault.BankReadonlyViolation()
	}
	full, err := s.key(key)
	if err != nil {
		return err
	}
	err = s.bank.delete(ctx, full)
	if s.digests != nil && s.digests.Covers(full) && (err == nil || errors.Is(err, ErrNotFound)) {
		return errors.Join(s.digests.Record(ctx, full, ""), err)
	}
	return err
}

// read reads an object, unless its version is known, and closes its body.
func (s *Section) read(ctx context.Context, key, known string) (full string, data []byte, o *Object, err error) {
	if full, err = s.key(key); err != nil {
		return "", nil, nil, err
	}
	if o, err = s.get(ctx, full); err != nil {
		return full, nil, nil, err
	}
	defer o.Body.Close()
	if known != "" && o.Version == known {
		return full, nil, o, nil
	}
	if o.Size > maxHeld {
		err = tooLarge(maxHeld)
	} else {
		data, err = readAll(o, maxHeld)
	}
	if err != nil {
		return full, nil, nil, getFailed(full, err)
	}
	return full, data, o, nil
}

// readAll reads an object of at most limit bytes.
func readAll(o *Object, limit int) ([]byte, error) {
	var data bytes.Buffer
	data.Grow(bytes.MinRead + int(min(max(o.Size, 0), 1<<20)))
	_, err := data.ReadFrom(io.LimitReader(o.Body, int64(limit)+1))
	if err == nil && data.Len() > limit {
		return nil, tooLarge(limit)
	}
	return data.Bytes(), err
}

func tooLarge(limit int) error {
	return fmt.Errorf("%w: it has more than %d bytes", ErrUnusable, limit)
}

// key converts a key in the section to a key in the bank.
func (s *Section) key(key string) (string, error) {
	normal, err := normalKey(key)
	if err != nil {
		return "", err
	}
	return s.prefix + normal[1:], nil
}

// namedBody adds the key to the errors of a stream.
type namedBody struct {
	key  string
	body io.ReadCloser
	done func() // may be nil
}

func (b *namedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if err != nil && err != io.EOF {
		err = getFailed(b.key, err)
	}
	return n, err
}

func (b *namedBody) Close() error {
	if b.done != nil {
		defer b.done()
	}
	return b.body.Close()
}
