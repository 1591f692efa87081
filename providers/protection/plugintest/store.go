// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"context"
	"encoding/json"
	"io"
	"sync"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
)

// store is a bank whose calls count as a process's.
type store struct {
	bank.Plugin
	process *Process
}

func (s *store) Put(ctx context.Context, key string, u bank.Upload) error {
	return s.process.call(ctx, "put "+key, true, func(int) error { return s.Plugin.Put(ctx, key, u) })
}

func (s *store) Get(ctx context.Context, key string) (o *bank.Object, err error) {
	err = s.process.call(ctx, "get "+key, false, func(int) error {
		o, err = s.Plugin.Get(ctx, key)
		return err
	})
	if err != nil {
		if o != nil {
			o.Body.Close()
		}
		return nil, err
	}
	o.Body = &object{ReadCloser: o.Body, process: s.process}
	return o, nil
}

func (s *store) List(ctx context.Context, o bank.ListOptions) (keys []string, err error) {
	err = s.process.call(ctx, "list "+o.Prefix, false, func(int) error {
		keys, err = s.Plugin.List(ctx, o)
		return err
	})
	return keys, err
}

func (s *store) Delete(ctx context.Context, key string) error {
	return s.process.call(ctx, "delete "+key, true, func(int) error { return s.Plugin.Delete(ctx, key) })
}

// object is the body of an object. It ends with its process.
type object struct {
	io.ReadCloser
	process *Process
}

func (o *object) Read(b []byte) (int, error) {
	if err := o.process.alive(); err != nil {
		return 0, err
	}
	return o.ReadCloser.Read(b)
}

// state is a State of a process.
type state struct {
	protection.State
	process *Process
	remarks *remarks
}

func (s *state) Load(ctx context.Context) (document json.RawMessage, err error) {
	err = s.process.call(ctx, "load state", false, func(int) error {
		document, err = s.State.Load(ctx)
		return err
	})
	return document, err
}

func (s *state) Save(ctx context.Context, document json.RawMessage) error {
	return s.process.call(ctx, "save state", true, func(int) error {
		s.remarks.keep()
		return s.State.Save(ctx, document)
	})
}

// remarks are the remarks of a process. They outlive it once something is saved after
// them: the state, or the end of a hook.
type remarks struct {
	kept *Remarks

	mu  sync.Mutex
	new []remark.Remark
}

var _ protection.Remarks = (*remarks)(nil)

// Add implements protection.Remarks.
func (r *remarks) Add(one remark.Remark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.new = append(r.new, one)
}

// Of implements protection.Remarks.
func (r *remarks) Of(resource remark.Resource) []remark.Remark {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all remark.List
	for _, one := range append(r.kept.Of(resource), r.new...) {
		all.Add(one)
	}
	return all.Of(resource)
}

func (r *remarks) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.new {
		r.kept.Add(one)
	}
	r.new = nil
}

// recorder is a StatusRecorder of a process.
type recorder struct {
	protection.StatusRecorder
	process *Process
}

func (r *recorder) Update(ctx context.Context, resourceType, id, status, reason string) error {
	return r.process.call(ctx, "record "+status+" of "+id, true, func(int) error {
		return r.StatusRecorder.Update(ctx, resourceType, id, status, reason)
	})
}
