// SPDX-License-Identifier: Apache-2.0

// Package bank is the store of checkpoints: objects under keys, in sections,
// over a Plugin that puts them somewhere.
//
// The objects have the layout and the form of the original, so that a
// bank can be shared with it or handed over in either direction.
package bank

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
)

// Bank validates and normalises keys, and turns every failure of its plugin into an error that may
// leave the service. It is safe for concurrent use.
type Bank struct {
	plugin Plugin
	lease  *Lease
	guards []func() error
	bulk   chan struct{} // one slot for each stream of data
}

// Limits of data streams. A plugin takes more requests than there are streams, so that requests for
// metadata never wait behind data. A caller that holds a stream must not wait for another, since
// two such callers could deadlock.
const (
	bulkStreams = 48
	bulkSize    = 256 << 10
)

// stream waits for a free data stream and returns the function that releases it.
func (b *Bank) stream(ctx context.Context) (done func(), err error) {
	select {
	case b.bulk <- struct{}{}:
		return sync.OnceFunc(func() { <-b.bulk }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// New returns a bank over a plugin. The first write takes the lease, and every write needs it; a
// nil lease is for stores that have none. Close closes both plugin and lease.
//
// A write is allowed while the guards, and the guards in its context, return nil; otherwise it
// fails with their error. The guards are asked before the call, by the plugin itself
// (guard.Allowed), and on each read of an upload's body: an upload that they interrupt leaves no
// object. Once a guard has refused a write, the rest of that write is refused too. Reads are not
// guarded. A nil guard is ignored.
func New(p Plugin, lease *Lease, guards ...func() error) *Bank {
	return &Bank{plugin: p, lease: lease, guards: guards, bulk: make(chan struct{}, bulkStreams)}
}

// OwnerID identifies this instance of the bank among all instances that share the store.
func (b *Bank) OwnerID() string { return b.plugin.OwnerID() }

// Lease returns the lease of this instance, or nil when the store has none.
func (b *Bank) Lease() *Lease { return b.lease }

// Section returns the part of the bank below path, such as "/checkpoints". It fails with
// InvalidParameterValue if the path is not valid.
func (b *Bank) Section(path string) (*Section, error) {
	prefix, err := normalSection(path)
	if err != nil {
		return nil, err
	}
	return &Section{bank: b, prefix: prefix, writable: true}, nil
}

// Disown ends the uploads that other processes have begun for a piece of work that the caller has
// taken over: see Plugin.
func (b *Bank) Disown(ctx context.Context, work string) error { return b.plugin.Disown(ctx, work) }

// Local is a Plugin whose objects are in the file system of this machine.
type Local interface {
	// Writable returns an error that says why nothing can be written, or nil.
	Writable() error
	// Remember names a local file in which the plugin records which store it has used, so that it
	// notices after a restart that the store is absent or replaced. It is called before the bank is
	// used.
	Remember(file string)
}

// Remember tells a plugin on the local file system where to record the identity of its store.
func (b *Bank) Remember(file string) {
	if p, local := b.plugin.(Local); local {
		p.Remember(file)
	}
}

// Writable returns an error that says why nothing can be written into a local store, or nil. It
// does not ask remote stores.
func (b *Bank) Writable() error {
	if p, local := b.plugin.(Local); local {
		return p.Writable()
	}
	return nil
}

// Probe asks the store for one name. It returns an error if the store does not answer, or if this
// machine knows that the store is not writable.
func (b *Bank) Probe(ctx context.Context) error {
	if err := b.Writable(); err != nil {
		return wrap(err, fault.BankListObjectsFailed)
	}
	_, err := b.plugin.List(ctx, ListOptions{Prefix: "/leases/", Limit: 1})
	if err != nil && !errors.As(err, new(*PartialError)) {
		return wrap(err, fault.BankListObjectsFailed)
	}
	return nil
}

// Close stops the lease, which then expires by itself, and closes the plugin.
func (b *Bank) Close() error {
	if b.lease != nil {
		b.lease.Close()
	}
	return b.plugin.Close()
}

func (b *Bank) put(ctx context.Context, key string, u Upload) error {
	err := b.guarded(ctx, func(ctx context.Context) error {
		open := u.Open
		u.Open = func() (io.ReadCloser, error) {
			body, err := open()
			if err != nil {
				return nil, err
			}
			return guardedBody{guard.NewReader(ctx, body, u.Size), body}, nil
		}
		return b.plugin.Put(ctx, key, u)
	})
	if err != nil {
		return wrap(err, func(reason string) *fault.Error { return fault.BankUpdateObjectFailed(key, reason) })
	}
	trafficOf(ctx).Written.Add(u.Size)
	return nil
}

func (b *Bank) get(ctx context.Context, key string) (*Object, error) {
	o, err := b.plugin.Get(ctx, key)
	if err != nil {
		return nil, getFailed(key, err)
	}
	o.Body = countedBody{o.Body, &trafficOf(ctx).Read}
	return o, nil
}

// countedBody counts the bytes that are read from an object.
type countedBody struct {
	io.ReadCloser
	read *atomic.Int64
}

// Read implements io.Reader.
func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// list returns the keys of a listing; a partial listing comes with its error. Names that are not
// keys do not count against the limit, so a short page is always the last one.
func (b *Bank) list(ctx context.Context, o ListOptions) ([]string, error) {
	keys, limit := []string{}, o.Limit
	partial := &PartialError{}
	for {
		names, err := b.plugin.List(ctx, o)
		var part *PartialError
		switch {
		case errors.As(err, &part):
			partial.Failures = append(partial.Failures, part.Failures...)
		case err != nil:
			return nil, wrap(err, fault.BankListObjectsFailed)
		}
		full := o.Limit > 0 && len(names) >= o.Limit
		if full {
			o.Marker = names[len(names)-1]
		}
		keys = append(keys, slices.DeleteFunc(names, func(name string) bool { return !isKey(name) })...)
		if o.Limit = limit - len(keys); !full || o.Limit <= 0 {
			break
		}
	}
	if len(partial.Failures) > 0 {
		return keys, wrap(partial, fault.BankListObjectsFailed)
	}
	return keys, nil
}

func (b *Bank) delete(ctx context.Context, key string) error {
	err := b.guarded(ctx, func(ctx context.Context) error { return b.plugin.Delete(ctx, key) })
	if err != nil {
		return wrap(err, func(reason string) *fault.Error { return fault.BankDeleteObjectFailed(key, reason) })
	}
	return nil
}

// guardedBody is the body of an upload that a guard may interrupt.
type guardedBody struct {
	*guard.Reader
	io.Closer
}

// guarded runs a write under the guards and then under the lease. A refused write takes no lease.
func (b *Bank) guarded(ctx context.Context, write func(context.Context) error) error {
	for _, valid := range b.guards {
		ctx = guard.With(ctx, valid)
	}
	if err := guard.Allowed(ctx); err != nil {
		return err
	}
	if b.lease != nil {
		valid, err := b.lease.guard(ctx)
		if err != nil {
			return err
		}
		ctx = guard.With(ctx, valid)
	}
	ctx = guard.Sticky(ctx)
	if err := guard.Allowed(ctx); err != nil {
		return err
	}
	return write(ctx)
}

func getFailed(key string, err error) error {
	return wrap(err, func(reason string) *fault.Error { return fault.BankGetObjectFailed(key, reason) })
}

// wrap converts err to a fault of the failed operation's class. An error that the plugin has
// classified itself, such as InvalidInput of the file system, stays as it is.
func wrap(err error, class func(reason string) *fault.Error) error {
	var classed *fault.Error
	if errors.As(err, &classed) {
		return err
	}
	return class(err.Error()).WithCause(err)
}
