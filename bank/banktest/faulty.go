// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/karbor-project/karbor/bank"
)

var _ bank.Plugin = (*Faulty)(nil)

// Method names a plugin method that can fail.
type Method string

// The methods that can fail.
const (
	Put    Method = "put"
	Get    Method = "get"
	List   Method = "list"
	Delete Method = "delete"
	Disown Method = "disown"
)

// Fault describes the outcome of one call. Before runs first and may block or cancel. Then Err, if
// set, is returned. With Late the call is executed before it fails, as if the store's response got
// lost.
type Fault struct {
	Err    error
	Late   bool
	Before func(ctx context.Context, key string)
}

// Outage describes a period in which a store does not answer as it should.
type Outage struct {
	// Methods that fail; empty means all.
	Methods []Method
	// Prefix selects the keys that fail. Listings fail if they include such keys.
	Prefix string
	// Err is the error of failing calls.
	Err error
	// Late executes calls before they fail, as if their responses got lost.
	Late bool
	// Hang makes calls wait for the end of the outage or of their contexts. A call whose outage
	// ends first is executed.
	Hang bool
}

// outage is an outage that has begun.
type outage struct {
	Outage
	over chan struct{}
}

func (o *outage) hits(m Method, key string) bool {
	return (len(o.Methods) == 0 || slices.Contains(o.Methods, m)) && strings.HasPrefix(key, o.Prefix)
}

// Faulty decorates a plugin with queued faults per method, outages, and unusable objects. It counts
// the calls.
type Faulty struct {
	bank.Plugin

	mu      sync.Mutex
	queues  map[Method][]Fault
	calls   map[Method]int
	spoiled map[string]error // by key; a key that ends with a slash stands for all keys below it
	late    map[string]error // errors of bodies, by key
	outages []*outage
}

// NewFaulty returns p without faults.
func NewFaulty(p bank.Plugin) *Faulty {
	return &Faulty{Plugin: p, queues: map[Method][]Fault{}, calls: map[Method]int{},
		spoiled: map[string]error{}, late: map[string]error{}}
}

// Spoil makes every Get and Delete of a key fail with err. A key that ends with a slash is a place
// that cannot be read: keys below it fail too and are missing in listings, which are then partial.
// A nil err repairs the key.
func (f *Faulty) Spoil(key string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spoiled[key] = err; err == nil {
		delete(f.spoiled, key)
	}
}

// SpoilBody makes bodies that are read from a key fail with err at their end.
func (f *Faulty) SpoilBody(key string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late[key] = err
}

// spoiledAt returns the error of a key and the error of its body.
func (f *Faulty) spoiledAt(key string) (now, late error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for at, err := range f.spoiled {
		if at == key || strings.HasSuffix(at, "/") && strings.HasPrefix(key, at) {
			return err, nil
		}
	}
	return nil, f.late[key]
}

// spoiledBody returns an error in place of EOF.
type spoiledBody struct {
	io.ReadCloser
	err error
}

func (b spoiledBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

// Queue adds faults for the next calls of a method. The zero Fault lets a call pass.
func (f *Faulty) Queue(m Method, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues[m] = append(f.queues[m], faults...)
}

// Begin starts an outage that lasts until end is called; end may be called repeatedly. If outages
// overlap, the first one decides.
func (f *Faulty) Begin(o Outage) (end func()) {
	begun := &outage{o, make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outages = append(f.outages, begun)
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.outages = slices.DeleteFunc(f.outages, func(o *outage) bool { return o == begun })
		close(begun.over)
	})
}

// Last begins an outage that ends by itself after d.
func (f *Faulty) Last(d time.Duration, o Outage) { time.AfterFunc(d, f.Begin(o)) }

// outage returns the outage that affects a call, or nil.
func (f *Faulty) outage(m Method, key string) *outage {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.outages {
		if o.hits(m, key) {
			return o
		}
	}
	return nil
}

// Calls returns how often a method was called.
func (f *Faulty) Calls(m Method) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[m]
}

// Disown implements bank.Plugin.
func (f *Faulty) Disown(ctx context.Context, work string) error {
	return f.do(ctx, Disown, "", func() error { return f.Plugin.Disown(ctx, work) })
}

// Put implements bank.Plugin.
func (f *Faulty) Put(ctx context.Context, key string, u bank.Upload) error {
	return f.do(ctx, Put, key, func() error { return f.Plugin.Put(ctx, key, u) })
}

// Get implements bank.Plugin.
func (f *Faulty) Get(ctx context.Context, key string) (o *bank.Object, err error) {
	now, late := f.spoiledAt(key)
	err = f.do(ctx, Get, key, func() error {
		if now != nil {
			return now
		}
		o, err = f.Plugin.Get(ctx, key)
		return err
	})
	if err != nil {
		if o != nil {
			o.Body.Close()
		}
		return nil, err
	}
	if late != nil {
		o.Body = spoiledBody{o.Body, late}
	}
	return o, nil
}

// List implements bank.Plugin.
func (f *Faulty) List(ctx context.Context, o bank.ListOptions) (keys []string, err error) {
	err = f.do(ctx, List, o.Prefix, func() error {
		keys, err = f.list(ctx, o)
		return err
	})
	return keys, err
}

// list leaves out the keys below spoiled places.
func (f *Faulty) list(ctx context.Context, o bank.ListOptions) ([]string, error) {
	f.mu.Lock()
	spoiled := maps.Clone(f.spoiled)
	f.mu.Unlock()
	maps.DeleteFunc(spoiled, func(at string, _ error) bool { return !strings.HasSuffix(at, "/") })
	if len(spoiled) == 0 {
		return f.Plugin.List(ctx, o)
	}
	limit := o.Limit
	o.Limit = 0
	all, err := f.Plugin.List(ctx, o)
	if err != nil {
		return nil, err
	}
	partial := &bank.PartialError{}
	for at, err := range spoiled {
		if strings.HasPrefix(o.Prefix, at) {
			return nil, err
		}
		before := len(all)
		all = slices.DeleteFunc(all, func(key string) bool { return strings.HasPrefix(key, at) })
		if len(all) < before {
			partial.Failures = append(partial.Failures, err)
		}
	}
	if limit > 0 {
		all = all[:min(limit, len(all))]
	}
	if len(partial.Failures) > 0 {
		return all, partial
	}
	return all, nil
}

// Delete implements bank.Plugin.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	now, _ := f.spoiledAt(key)
	return f.do(ctx, Delete, key, func() error {
		if now != nil {
			return now
		}
		return f.Plugin.Delete(ctx, key)
	})
}

func (f *Faulty) do(ctx context.Context, m Method, key string, call func() error) error {
	fault := f.next(m)
	if fault.Before != nil {
		fault.Before(ctx, key)
	}
	if fault.Err != nil && !fault.Late {
		return fault.Err
	}
	o := f.outage(m, key)
	switch {
	case o == nil:
	case o.Hang:
		select {
		case <-o.over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case o.Late:
		fault.Err = errors.Join(fault.Err, o.Err)
	default:
		return o.Err
	}
	if err := call(); err != nil {
		return err
	}
	return fault.Err
}

func (f *Faulty) next(m Method) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[m]++
	queue := f.queues[m]
	if len(queue) == 0 {
		return Fault{}
	}
	f.queues[m] = queue[1:]
	return queue[0]
}
