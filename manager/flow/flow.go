// SPDX-License-Identifier: Apache-2.0

// Package flow runs the hooks of plugins on the resources of one operation: it builds their task
// graph, and undoes what they have made.
package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/workflow"
	"github.com/karbor-project/karbor/providers/protection"
)

// Provider is the part of a provider that a flow needs.
type Provider interface {
	Plugin(resourceType string) (protection.Plugin, error)
}

// Recorder records the progress of hooks. Its methods do not block and are safe for concurrent use.
type Recorder interface {
	// Expect announces the hooks of a resource, in their order.
	Expect(r resource.Key, hooks []string)
	// Finished reports whether a hook has finished, now or in an earlier run.
	Finished(r resource.Key, hook string) bool
	// Start, Finish and Fail record the state of a resource's hook. made are the new resources of a
	// restore since the last call, by their original ids.
	Start(r resource.Key, hook string)
	Finish(r resource.Key, hook string, made map[string]string)
	Fail(r resource.Key, reason string)
	// Percent records the progress of the current hook.
	Percent(r resource.Key, percent int)
	// State returns the state that the plugin keeps for a resource.
	State(r resource.Key) protection.State
	// Remarks returns the recorder of the hooks' remarks.
	Remarks() protection.Remarks
}

// Flow runs one operation on a graph of resources by the hooks of each resource.
type Flow struct {
	Kind     protection.Kind
	Provider Provider
	Graph    *resource.Graph
	// Checkpoint is the checkpoint that is created, read or deleted. Copied is the new checkpoint
	// of a copy, nil in other flows.
	Checkpoint *checkpoint.Checkpoint
	Copied     *checkpoint.Checkpoint
	// Parameters returns the parameters of a resource; nil means none.
	Parameters   func(resource.Resource) protection.Parameters
	NewResources *protection.NewResources  // of a restore
	Status       protection.StatusRecorder // of a restore and a verification
	Recorder     Recorder
	Log          logrus.FieldLogger

	// Draining ends when no further hooks may start.
	Draining context.Context
	// Workers is the number of hooks that run concurrently.
	Workers int
	// HookTimeout bounds the duration of a hook; 0 means no bound.
	HookTimeout time.Duration

	tasks *workflow.Graph // filled by Link
}

// hooks holds the tasks of one resource.
type hooks struct{ begin, finish, main, complete workflow.ID }

// Link creates the tasks of the hooks. For each parent and child, the parent begins first, while
// the child finishes its preparation and completes first; the same order as for children applies to
// resources that others use. Main hooks are not ordered among resources. Errors are permanent.
// karbor: resource_flow.py
func (f *Flow) Link() error {
	g := workflow.New()
	byResource := make(map[resource.Key]hooks, f.Graph.Len())
	nodes := f.Graph.Nodes()
	for _, node := range nodes {
		h, err := f.addHooks(g, node.Resource)
		if err != nil {
			return failure.Permanent(err)
		}
		byResource[node.Key()] = h
	}
	for _, node := range nodes {
		parent := byResource[node.Key()]
		for _, childNode := range node.Children {
			child := byResource[childNode.Key()]
			g.Link(parent.begin, child.begin)
			g.Link(child.finish, parent.finish)
			g.Link(child.complete, parent.complete)
		}
	}
	for _, u := range f.uses() {
		linkAll(g, u.used, u.users, func(key resource.Key) workflow.ID { return byResource[key].complete })
	}
	f.tasks = g
	return failure.Permanent(g.Check())
}

func (f *Flow) addHooks(g *workflow.Graph, r resource.Resource) (hooks, error) {
	operation, err := f.operation(f.Kind, r)
	if err != nil {
		return hooks{}, err
	}
	var call *protection.Call // one call for the four hooks, made on first use
	if hasHooks(operation) {
		call = f.call(r)
	}
	var names []string
	add := func(name string, hook protection.Hook) workflow.ID {
		if hook != nil {
			names = append(names, name)
		}
		return g.Add(f.task(name, r, hook, call))
	}
	h := hooks{
		begin:    add("on_prepare_begin", operation.PrepareBegin),
		finish:   add("on_prepare_finish", operation.PrepareFinish),
		main:     add("on_main", operation.Main),
		complete: add("on_complete", operation.Complete),
	}
	if len(names) > 0 {
		f.Recorder.Expect(r.Key(), names)
	}
	g.Link(h.begin, h.finish)
	g.Link(h.finish, h.main)
	g.Link(h.main, h.complete)
	return h, nil
}

func hasHooks(o *protection.Operation) bool {
	return o.PrepareBegin != nil || o.PrepareFinish != nil || o.Main != nil || o.Complete != nil
}

func (f *Flow) operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	return Operation(f.Provider, kind, r)
}

// Operation asks the provider's plugin for the hooks of a resource.
func Operation(p Provider, kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	plugin, err := p.Plugin(r.Type)
	if err != nil {
		return nil, err
	}
	operation, err := plugin.Operation(kind, r)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), err)
	}
	if operation == nil {
		operation = &protection.Operation{}
	}
	return operation, nil
}

func (f *Flow) task(name string, r resource.Resource, hook protection.Hook, call *protection.Call) workflow.Task {
	task := workflow.Task{Name: fmt.Sprintf("%s_%s_%s_%s", f.Kind, name, r.Type, r.ID)}
	if hook != nil {
		task.Run = func(ctx context.Context) error { return f.hook(ctx, name, hook, call) }
	}
	return task
}

// hook runs one hook, unless it has finished in an earlier run.
func (f *Flow) hook(ctx context.Context, name string, hook protection.Hook, call *protection.Call) error {
	key := call.Resource.Key()
	switch {
	case call.Section == nil:
		return fmt.Errorf("resource id %q cannot be part of a key of the bank", key.ID)
	case f.Recorder.Finished(key, name):
		return nil
	case f.Draining.Err() != nil:
		return fmt.Errorf("%s of %s does not start: %w", name, key, protection.ErrHandover)
	}
	f.Recorder.Start(key, name)
	bounded, cancel := f.bounded(ctx, name, key)
	defer cancel()
	err := hook(bounded, call)
	switch {
	case err == nil:
		f.Recorder.Finish(key, name, f.NewResources.Changes())
	case !failure.HandedOver(err) && !protection.HandedOver(ctx):
		f.Recorder.Fail(key, failure.Describe(err))
	case !failure.HandedOver(err): // the hook was interrupted, and has not failed
		err = errors.Join(protection.ErrHandover, err)
	}
	return err
}

// bounded applies the timeout to a hook.
func (f *Flow) bounded(ctx context.Context, hook string, key resource.Key) (context.Context, context.CancelFunc) {
	if f.HookTimeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, f.HookTimeout,
		fmt.Errorf("%w: %s of %s took longer than %s", protection.ErrDeadline, hook, key, f.HookTimeout))
}

func (f *Flow) call(r resource.Resource) *protection.Call {
	written := f.Checkpoint
	if f.Copied != nil {
		written = f.Copied
	}
	// If the id of a resource cannot be a key, the error comes when a hook asks for the section;
	// plugins without hooks can protect such a resource.
	section, err := written.Section(r.ID)
	if err != nil {
		section = nil
	}
	c := &protection.Call{
		Resource:     r,
		Checkpoint:   f.Checkpoint,
		Copy:         f.Copied,
		Section:      section,
		Graph:        f.Graph,
		NewResources: f.NewResources,
		Status:       f.Status,
		State:        f.Recorder.State(r.Key()),
		Remarks:      f.Recorder.Remarks(),
		Progress:     func(percent int) { f.Recorder.Percent(r.Key(), percent) },
		Log:          f.Log.WithFields(logrus.Fields{"resource": r.ID, "type": r.Type}),
	}
	if f.Parameters != nil {
		c.Parameters = f.Parameters(r)
	}
	return c
}

// Run runs the hooks until all have ended.
func (f *Flow) Run(ctx context.Context) error {
	return workflow.Run(ctx, f.tasks, workflow.Options{Workers: f.Workers})
}

// Undo removes what a cancelled operation has made. It covers every resource, since a hook may have
// made something without recording it. It continues after a failure; the error names what is left.
func (f *Flow) Undo(ctx context.Context) error {
	g := workflow.New()
	var left residue
	tasks := make(map[resource.Key]workflow.ID, f.Graph.Len())
	nodes := f.Graph.Nodes()
	for _, node := range nodes {
		steps, err := f.undoSteps(node.Resource)
		if err != nil {
			left.add(node.Key(), err)
		}
		tasks[node.Key()] = g.Add(workflow.Task{Name: "undo_" + node.Key().String(), Run: func(ctx context.Context) error {
			for _, step := range steps {
				err := step(ctx)
				if failure.HandedOver(err) || protection.HandedOver(ctx) {
					return errors.Join(protection.ErrHandover, err)
				}
				if err != nil {
					left.add(node.Key(), err)
					return nil
				}
			}
			return nil
		}})
	}
	// Resources that use others are undone before those.
	for _, node := range nodes {
		for _, child := range node.Children {
			g.Link(tasks[node.Key()], tasks[child.Key()])
		}
	}
	for _, u := range f.uses() {
		linkAll(g, u.users, u.used, func(key resource.Key) workflow.ID { return tasks[key] })
	}
	if err := workflow.Run(ctx, g, workflow.Options{Workers: f.Workers}); err != nil {
		return err
	}
	return left.err()
}

// residue collects what could not be undone. The same error often applies to many resources, and is
// reported once.
type residue struct {
	mu     sync.Mutex
	texts  []string
	of     map[string][]string // resources by text
	errors []error
}

func (l *residue) add(key resource.Key, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := failure.Describe(err)
	if l.of == nil {
		l.of = map[string][]string{}
	}
	if l.of[text] == nil {
		l.texts = append(l.texts, text)
	}
	l.of[text] = append(l.of[text], key.String())
	l.errors = append(l.errors, err)
}

func (l *residue) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) == 0 {
		return nil
	}
	var parts []string
	for _, text := range l.texts {
		slices.Sort(l.of[text])
		parts = append(parts, strings.Join(l.of[text], ", ")+": "+text)
	}
	passing := slices.DeleteFunc(slices.Clone(l.errors), failure.Final)
	if len(passing) == 0 {
		passing = l.errors
	}
	return &residueError{text: strings.Join(parts, "; "), errors: passing}
}

type residueError struct {
	text   string
	errors []error
}

func (e *residueError) Error() string { return e.text }

// Unwrap returns the errors that a retry may cure, or all errors if there are none of these.
func (e *residueError) Unwrap() []error { return e.errors }

// undoSteps returns the steps that undo the hooks of a resource. If the plugin has no Undo, they
// remove a backup by the hooks of a deletion.
func (f *Flow) undoSteps(r resource.Resource) ([]func(context.Context) error, error) {
	operation, err := f.operation(f.Kind, r)
	if err != nil {
		return nil, err
	}
	call := f.call(r)
	if call.Section == nil || !hasHooks(operation) {
		return nil, nil
	}
	hooks := []protection.Hook{operation.Undo}
	if operation.Undo == nil {
		if f.Kind != protection.Protect && f.Kind != protection.Copy {
			return nil, nil
		}
		removal, err := f.operation(protection.Delete, r)
		if err != nil {
			return nil, err
		}
		if f.Copied != nil {
			call.Checkpoint, call.Copy = f.Copied, nil
		}
		call.State = nil // the state belongs to the protection, and not to a deletion
		hooks = []protection.Hook{removal.PrepareBegin, removal.PrepareFinish, removal.Main, removal.Complete}
	}
	var steps []func(context.Context) error
	for _, hook := range hooks {
		if hook != nil {
			steps = append(steps, func(ctx context.Context) error { return hook(ctx, call) })
		}
	}
	return steps, nil
}

// use lists the resources that use a type of resources, and the resources of that type.
type use struct{ users, used []resource.Key }

// uses returns the dependencies within the graph that the resources' operations declare. A resource
// without an operation uses nothing, and no resource uses its own type.
func (f *Flow) uses() []use {
	byType := map[string]*use{}
	of := func(resourceType string) *use {
		if byType[resourceType] == nil {
			byType[resourceType] = &use{}
		}
		return byType[resourceType]
	}
	for _, node := range f.Graph.Nodes() {
		own := of(node.Type)
		own.used = append(own.used, node.Key())
		operation, err := f.operation(f.Kind, node.Resource)
		if err != nil {
			continue
		}
		for _, used := range operation.Uses {
			if used != node.Type {
				u := of(used)
				u.users = append(u.users, node.Key())
			}
		}
	}
	var list []use
	for _, resourceType := range slices.Sorted(maps.Keys(byType)) {
		if u := byType[resourceType]; len(u.users) > 0 && len(u.used) > 0 {
			list = append(list, *u)
		}
	}
	return list
}

// linkAll makes every task of after wait for every task of before. It links them through a barrier,
// which needs only as many links as there are tasks: for a thousand servers on a hundred thousand
// networks, direct links would number 10^8.
func linkAll(g *workflow.Graph, before, after []resource.Key, task func(resource.Key) workflow.ID) {
	barrier := g.Add(workflow.Task{Name: "barrier"})
	for _, key := range before {
		g.Link(task(key), barrier)
	}
	for _, key := range after {
		g.Link(barrier, task(key))
	}
}
