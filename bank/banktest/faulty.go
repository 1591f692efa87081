// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"context"
	"sync"

	"github.com/karbor-project/karbor/bank"
)

var _ bank.Plugin = (*Faulty)(nil)

// Method names a method of a plugin that can fail.
type Method string

// The methods with faults.
const (
	Put    Method = "put"
	Get    Method = "get"
	List   Method = "list"
	Delete Method = "delete"
)

// Fault is what happens to one call. Before runs first and may block or
// cancel; then Err, if any, is returned, after the call was done when Late is
// set, as when the answer of a store gets lost.
type Fault struct {
	Err    error
	Late   bool
	Before func(ctx context.Context, key string)
}

// Faulty decorates a plugin with faults, one queue of them a method. It counts
// the calls.
type Faulty struct {
	bank.Plugin

	mu     sync.Mutex
	queues map[Method][]Fault
	calls  map[Method]int
}

// NewFaulty returns p without faults.
func NewFaulty(p bank.Plugin) *Faulty {
	return &Faulty{Plugin: p, queues: map[Method][]Fault{}, calls: map[Method]int{}}
}

// Queue adds faults for the next calls of a method. The zero Fault lets a call
// pass.
func (f *Faulty) Queue(m Method, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues[m] = append(f.queues[m], faults...)
}

// Calls returns how often a method was called.
func (f *Faulty) Calls(m Method) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[m]
}

// Put implements bank.Plugin.
func (f *Faulty) Put(ctx context.Context, key string, u bank.Upload) error {
	return f.do(ctx, Put, key, func() error { return f.Plugin.Put(ctx, key, u) })
}

// Get implements bank.Plugin.
func (f *Faulty) Get(ctx context.Context, key string) (o *bank.Object, err error) {
	err = f.do(ctx, Get, key, func() error {
		o, err = f.Plugin.Get(ctx, key)
		return err
	})
	if err != nil {
		if o != nil {
			o.Body.Close()
		}
		return nil, err
	}
	return o, nil
}

// List implements bank.Plugin.
func (f *Faulty) List(ctx context.Context, o bank.ListOptions) (keys []string, err error) {
	err = f.do(ctx, List, o.Prefix, func() error {
		keys, err = f.Plugin.List(ctx, o)
		return err
	})
	return keys, err
}

// Delete implements bank.Plugin.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.do(ctx, Delete, key, func() error { return f.Plugin.Delete(ctx, key) })
}

func (f *Faulty) do(ctx context.Context, m Method, key string, call func() error) error {
	fault := f.next(m)
	if fault.Before != nil {
		fault.Before(ctx, key)
	}
	if fault.Err != nil && !fault.Late {
		return fault.Err
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
