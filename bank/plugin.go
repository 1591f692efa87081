// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
)

// ErrNotFound reports that the bank holds no object under a key. Plugins wrap it, and it stays in
// the chain of the errors that a Section returns.
var ErrNotFound = errors.New("object not found")

// ErrExists reports that an upload that is New found an object under its key. Like ErrNotFound it
// stays in the chain.
var ErrExists = errors.New("there is such an object already")

// ErrUnusable reports that the object under a key cannot be read or removed while the rest of the
// store can, because of its permissions, a bad block or a wrong checksum. Another attempt does not
// help. Like ErrNotFound it stays in the chain.
var ErrUnusable = errors.New("the object cannot be used")

// PartialError is the error of a listing that lacks keys below places that cannot be read while the
// rest of the store can. The keys that come with it are valid: callers that need no complete
// listing continue with them, others fail.
type PartialError struct{ Failures []error }

func (e *PartialError) Error() string {
	return "part of the bank cannot be listed: " + errors.Join(e.Failures...).Error()
}

// Unwrap returns the failures.
func (e *PartialError) Unwrap() []error { return e.Failures }

// Plugin is a store of objects. Keys are as Bank normalises them: parts of letters, digits and the
// characters _.-@ with one slash before each part. The store preserves every character of them,
// including the first slash where it is visible. No key is both an object and the beginning of
// another key up to a slash.
//
// All methods may be called concurrently. They end soon after ctx does, with an error that wraps
// its cause. Plugins retry failures that a second attempt may cure: an error that a method returns
// is final. Writes ask guard.Allowed right before a change becomes visible to others, and return
// its error without another attempt.
//
// The class of an error decides whether a listing of checkpoints continues without the object or
// fails: ErrNotFound, ErrExists and ErrUnusable are about one key, a PartialError is about the
// places that it names. Every other error may be an outage of the whole store, even if each object
// fails separately: a plugin that is refused an object checks whether the store answers otherwise.
type Plugin interface {
	// OwnerID identifies this instance by a UUID that is made with the instance. It is written into
	// the checkpoints that the instance creates, and names its lease.
	OwnerID() string

	// Put stores an object, replacing an existing one. It is atomic: readers see the old object or
	// the new one, and after an error one of the two exists. It is idempotent. The body is opened
	// once for each attempt, and closed before the next attempt and before Put returns. An upload
	// that is New fails with ErrExists if there is an object, which may be its own, from an attempt
	// whose response was lost.
	Put(ctx context.Context, key string, u Upload) error

	// Get opens an object. The caller closes the body, and keeps ctx alive until then. A body that
	// ends early returns an error, never a plain EOF. Get fails with ErrNotFound for a missing
	// object; Get or the body fails with ErrUnusable for an object that cannot be read.
	Get(ctx context.Context, key string) (*Object, error)

	// List returns the keys that ListOptions select, in byte order. An empty listing proves that no
	// object exists only as far as the store lists consistently: Swift may lag behind its own
	// writes. The result may include names that are not keys, which others have put into the store;
	// Bank drops them. List returns keys and a PartialError if places below the prefix cannot be
	// read. If the place of the prefix itself cannot be read, List fails.
	List(ctx context.Context, o ListOptions) ([]string, error)

	// Delete removes an object. It fails with ErrNotFound for a missing object, which cleanup code
	// treats as success, and with ErrUnusable for an object that cannot be removed.
	Delete(ctx context.Context, key string) error

	// Disown ends the uploads that any process has begun for a piece of work (WithWork): they store
	// nothing from then on. Whoever takes over the work calls Disown before writing, because the
	// old process may be suspended between its last check and the store. A store that cannot do
	// this does nothing.
	Disown(ctx context.Context, work string) error

	// Close frees connections. No method may be called afterwards.
	Close() error
}

// workKey is the context key of the name of a piece of work.
type workKey struct{}

// WithWork returns a context whose uploads belong to a piece of work. All processes that may
// execute the work know it by the same name. See Plugin.Disown.
func WithWork(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, workKey{}, name)
}

// Work returns the name of the piece of work in ctx, or "".
func Work(ctx context.Context) string {
	name, _ := ctx.Value(workKey{}).(string)
	return name
}

// Traffic counts the bytes of objects that are written and read.
type Traffic struct{ Written, Read atomic.Int64 }

type trafficKey struct{}

// WithTraffic returns a context whose uploads and downloads count in t.
func WithTraffic(ctx context.Context, t *Traffic) context.Context {
	return context.WithValue(ctx, trafficKey{}, t)
}

// trafficOf returns the counter in ctx, or a new one.
func trafficOf(ctx context.Context) *Traffic {
	if t, ok := ctx.Value(trafficKey{}).(*Traffic); ok {
		return t
	}
	return &Traffic{}
}

// Upload is an object on its way into the bank.
type Upload struct {
	// Open returns the body from its start. It may block on resources that others hold, since the
	// sender of a body holds nothing of another attempt.
	Open func() (io.ReadCloser, error)
	Size int64 // bytes of the body

	// Serialized marks a body that is the JSON encoding of a value and not the value itself.
	Serialized bool

	// New requires that no object exists under the key.
	New bool
}

// Bytes returns the Open function of an upload from memory.
func Bytes(data []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// Object is an object on its way out of the bank.
type Object struct {
	Body       io.ReadCloser
	Size       int64 // bytes of the body, or -1 if the store does not report the size
	Serialized Flag

	// Version identifies the content under a key: equal versions mean equal bytes. It is empty if
	// the store has no versions.
	Version string
}

// Flag is the stored value of Upload.Serialized.
type Flag int

// Unknown is the flag of an object that was written without a flag, or in a store that keeps no flags.
const (
	Unknown Flag = iota
	Raw
	JSON
)

// ListOptions selects keys.
type ListOptions struct {
	// Prefix is the beginning of the keys. It need not end at a slash.
	Prefix string
	// Marker is the key after which the listing begins, in the order of the listing. The key need
	// not exist.
	Marker string
	// Limit is the maximum number of keys; 0 means no limit.
	Limit int
	// Descending reverses the order.
	Descending bool

	// Delimiter is a character other than the slash. All keys that have the same text from the
	// prefix up to the delimiter appear as one entry, which is that text with the delimiter. Empty
	// means none.
	Delimiter string
	// Versions, unless nil, receives the versions (Object.Version) of the listed objects, if the
	// store's listings have them. They may be older than the versions that Get returns.
	Versions map[string]string
}

// Rolled returns the entry for a key in the listing: its text up to and including the delimiter, or
// the key itself.
func (o ListOptions) Rolled(key string) string {
	if rest, ok := strings.CutPrefix(key, o.Prefix); ok && o.Delimiter != "" {
		if at := strings.Index(rest, o.Delimiter); at >= 0 {
			return key[:len(o.Prefix)+at+len(o.Delimiter)]
		}
	}
	return key
}

// Select applies the options other than Versions to keys in any order. It holds no more keys than
// it may return, so a store without an order of its own can list any number of keys.
func (o ListOptions) Select(keys iter.Seq[string]) []string {
	kept := []string{}
	order := strings.Compare
	if o.Descending {
		order = func(a, b string) int { return strings.Compare(b, a) }
	}
	trim := func() {
		slices.SortFunc(kept, order)
		kept = slices.Compact(kept)
		if o.Limit > 0 && len(kept) > o.Limit {
			clear(kept[o.Limit:])
			kept = kept[:o.Limit]
		}
	}
	for key := range keys {
		matches := strings.HasPrefix(key, o.Prefix)
		key = o.Rolled(key)
		if !matches || o.Marker != "" && order(key, o.Marker) <= 0 {
			continue
		}
		kept = append(kept, key)
		if o.Limit > 0 && len(kept) >= 2*o.Limit+1000 {
			trim()
		}
	}
	trim()
	return kept
}
