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

// ErrNotFound reports that the bank holds no object under a key. Plugins wrap
// it, and it stays in the chain of the errors that a Section returns.
var ErrNotFound = errors.New("object not found")

// ErrExists reports that an upload that is New found an object under its key. It
// stays in the chain as ErrNotFound does.
var ErrExists = errors.New("there is such an object already")

// ErrUnusable reports that there is something under a key that cannot be read or
// removed, and that the rest of the store can: permissions of this object, a bad
// block, a checksum that does not fit. Another attempt does not help. It stays in
// the chain as ErrNotFound does.
var ErrUnusable = errors.New("the object cannot be used")

// PartialError is the error of a listing that lacks what lies below some places,
// since these cannot be read while the rest of the store can. The keys that come
// with it are good: who looks around goes on with them, who must see everything
// fails.
type PartialError struct{ Failures []error }

func (e *PartialError) Error() string {
	return "part of the bank cannot be listed: " + errors.Join(e.Failures...).Error()
}

// Unwrap returns the failures.
func (e *PartialError) Unwrap() []error { return e.Failures }

// Plugin is a store of objects. Keys are as Bank normalises them: parts of
// letters, digits and the characters _.-@ with one slash before each. The store
// keeps every character of them, the first slash included where it shows. No
// key is both an object and the beginning of another key up to a slash.
//
// All methods may be called at the same time from several goroutines. They
// end soon after ctx does, with an error that wraps its cause. Failures that a
// second attempt may cure are retried inside the plugin: what a method returns
// is final. Writes ask guard.Allowed right before what others will see, and return its
// error without another attempt.
//
// What an error says of the rest of the store decides whether a listing of
// checkpoints goes on without the object or fails, so the plugin draws that line:
// ErrNotFound, ErrExists and ErrUnusable are about one key, a PartialError about
// the places that it names. Every other error may be an outage of the whole store,
// also where each object of it fails for itself: a plugin that sees an object
// refused asks whether the store answers otherwise.
type Plugin interface {
	// OwnerID identifies this instance, a UUID made when the instance is. It
	// is written into the checkpoints that the instance creates and names its
	// lease.
	OwnerID() string

	// Put stores an object and replaces the one that was there. It is atomic:
	// readers see the old object or the new one, and after an error one of the
	// two. It is idempotent. The body is opened once for each attempt, and closed
	// before the next one and before Put returns. It fails with ErrExists
	// for an upload that is New when there is an object, which may be its own: that
	// of an attempt whose answer was lost.
	Put(ctx context.Context, key string, u Upload) error

	// Get opens an object. The caller closes the body, and keeps ctx alive
	// until then. A body that ends early gives an error, never a plain EOF.
	// It fails with ErrNotFound for a missing object, and it or the body with
	// ErrUnusable for one that cannot be read.
	Get(ctx context.Context, key string) (*Object, error)

	// List returns the keys that ListOptions select, in byte order. An empty
	// listing proves that nothing is there only as far as the store lists
	// consistently: Swift may lag behind its own writes. Names that are no keys,
	// which others have put into the store, may be among them; Bank drops those. It
	// returns keys and a PartialError where places below the prefix cannot be read.
	// If that is where the prefix itself leads, nothing is known and it fails.
	List(ctx context.Context, o ListOptions) ([]string, error)

	// Delete removes an object. It fails with ErrNotFound for a missing one,
	// which callers that clean up take for success, and with ErrUnusable for one
	// that cannot be removed.
	Delete(ctx context.Context, key string) error

	// Disown ends the uploads that were begun for a piece of work (WithWork), by any
	// process: they store nothing any more. Who takes the work over calls it before
	// it writes, for a process that was stopped between its last question and the
	// store. A store that has no means to do so does nothing.
	Disown(ctx context.Context, work string) error

	// Close frees connections. No method may be called after it.
	Close() error
}

// workKey is the key of the name of a piece of work in a context.
type workKey struct{}

// WithWork returns a context whose uploads are for a piece of work, by a name that
// all processes that may come to do it know it by. See Plugin.Disown.
func WithWork(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, workKey{}, name)
}

// Work returns the name of the piece of work that ctx is for, "" for none.
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

// trafficOf returns what counts the bytes of a context, a counter of its own for none.
func trafficOf(ctx context.Context) *Traffic {
	if t, ok := ctx.Value(trafficKey{}).(*Traffic); ok {
		return t
	}
	return &Traffic{}
}

// Upload is an object on its way into the bank.
type Upload struct {
	// Open returns the body from its start. It may wait for what others hold, since
	// whoever sends the body holds nothing of another attempt.
	Open func() (io.ReadCloser, error)
	Size int64 // bytes of the body

	// Serialized tells readers that the body is JSON that stands for a value,
	// and not the value itself.
	Serialized bool

	// New is for an object that must not be there yet.
	New bool
}

// Bytes is the Open of an upload that is in memory.
func Bytes(data []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// Object is an object on its way out of the bank.
type Object struct {
	Body       io.ReadCloser
	Size       int64 // bytes of the body, -1 when the store does not tell
	Serialized Flag

	// Version tells the contents of a key apart: where it is the same, so are the bytes. ""
	// is none.
	Version string
}

// Flag is what a store remembers of Upload.Serialized.
type Flag int

// A store that keeps no flag, and an object that was written without one, give
// Unknown.
const (
	Unknown Flag = iota
	Raw
	JSON
)

// ListOptions select keys.
type ListOptions struct {
	// Prefix is the text that keys begin with. It need not end at a slash.
	Prefix string
	// Marker is the key after which the listing begins, in the order of the
	// listing. It need not exist.
	Marker string
	// Limit is the greatest number of keys; 0 is no limit.
	Limit int
	// Descending turns the order around.
	Descending bool

	// Delimiter is a character, not the slash. All keys that have it behind the prefix in
	// one place are one in the listing: their beginning up to and with it. "" is none.
	Delimiter string
	// Versions, unless nil, takes the versions (Object.Version) of the objects listed, as far
	// as the store's listings have them. They may lag behind those that Get gives.
	Versions map[string]string
}

// Rolled returns what a key is in the listing: its beginning up to the delimiter, or the
// key itself.
func (o ListOptions) Rolled(key string) string {
	if rest, ok := strings.CutPrefix(key, o.Prefix); ok && o.Delimiter != "" {
		if at := strings.Index(rest, o.Delimiter); at >= 0 {
			return key[:len(o.Prefix)+at+len(o.Delimiter)]
		}
	}
	return key
}

// Select applies the options, but Versions, to keys in any order. It holds no more keys
// than it may return, so that a store without an order of its own can list any
// number of them.
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
