// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/workflow"
	"github.com/karbor-project/karbor/providers/protection"
)

// flow is one operation's way through a graph of resources: the hooks of every
// resource.
type flow struct {
	run        *run // nil: nothing is noted, as when an operation is undone
	kind       protection.Kind
	provider   Provider
	checkpoint *checkpoint.Checkpoint
	// copied is the new checkpoint of a copy, nil in other flows.
	copied       *checkpoint.Checkpoint
	graph        *resource.Graph
	parameters   Parameters
	newResources *protection.NewResources
	status       protection.StatusRecorder
	log          logrus.FieldLogger

	tasks *workflow.Graph // filled by link
}

// hooks are the tasks of one resource.
type hooks struct{ begin, finish, main, complete workflow.ID }

// prepare fills the flow from a packed graph.
func (f *flow) prepare(packed string) error {
	if err := f.unpack(packed); err != nil {
		return err
	}
	return f.link()
}

// unpack fills the graph. One that cannot be read will never be read. What is stored may be
// deleted and verified whatever its size.
func (f *flow) unpack(packed string) error {
	if f.kind != protection.Delete && f.kind != protection.Verify {
		if err := f.run.engine.checkGraph(packed); err != nil {
			return permanent(err)
		}
	}
	graph, err := resource.Unpack(packed)
	if err != nil {
		return permanent(fmt.Errorf("read the resource graph: %w", err))
	}
	f.graph = graph
	return nil
}

// link makes the tasks of the hooks. For every parent and child the parent
// begins first, while the child finishes its preparation and completes first, as
// does what a resource uses; main hooks have no order among resources. Its failures are permanent.
// karbor: resource_flow.py
func (f *flow) link() error {
	g := workflow.New()
	byResource := make(map[resource.Key]hooks, f.graph.Len())
	nodes := f.graph.Nodes()
	for _, node := range nodes {
		h, err := f.addHooks(g, node.Resource)
		if err != nil {
			return permanent(err)
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
	return permanent(g.Check())
}

func (f *flow) addHooks(g *workflow.Graph, r resource.Resource) (hooks, error) {
	operation, err := f.operation(f.kind, r)
	if err != nil {
		return hooks{}, err
	}
	var call *protection.Call // one value for the four hooks, made when it is needed
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
	if f.run != nil && len(names) > 0 {
		f.run.track.expect(r.Key(), names)
	}
	g.Link(h.begin, h.finish)
	g.Link(h.finish, h.main)
	g.Link(h.main, h.complete)
	return h, nil
}

func hasHooks(o *protection.Operation) bool {
	return o.PrepareBegin != nil || o.PrepareFinish != nil || o.Main != nil || o.Complete != nil
}

// operation asks the provider's plugin for the resource's hooks.
func (f *flow) operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	plugin, err := f.provider.Plugin(r.Type)
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

func (f *flow) task(name string, r resource.Resource, hook protection.Hook, call *protection.Call) workflow.Task {
	task := workflow.Task{Name: fmt.Sprintf("%s_%s_%s_%s", f.kind, name, r.Type, r.ID)}
	if hook != nil {
		task.Run = func(ctx context.Context) error { return f.hook(ctx, name, hook, call) }
	}
	return task
}

// hook runs one hook, unless it has finished in an earlier run.
func (f *flow) hook(ctx context.Context, name string, hook protection.Hook, call *protection.Call) error {
	key := call.Resource.Key()
	if call.Section == nil {
		return fmt.Errorf("resource id %q cannot be part of a key of the bank", key.ID)
	}
	r := f.run
	if r == nil {
		return hook(ctx, call)
	}
	if r.track.finished(key, name) {
		return nil
	}
	if r.draining() {
		return fmt.Errorf("%s of %s does not start: %w", name, key, protection.ErrHandover)
	}
	r.note(key, started(name, r.engine.Now().UTC()))
	bounded, cancel := r.bounded(ctx, name, key)
	defer cancel()
	err := hook(bounded, call)
	switch now := r.engine.Now().UTC(); {
	case err == nil:
		r.note(key, finished(name, now, r.restoredBy()))
		r.survived()
	case !handedOver(err) && !protection.HandedOver(ctx):
		r.note(key, failed(now, describe(err)))
	case !handedOver(err): // it failed because it was broken off
		err = errors.Join(protection.ErrHandover, err)
	}
	return err
}

func (f *flow) call(r resource.Resource) *protection.Call {
	written := f.checkpoint
	if f.copied != nil {
		written = f.copied
	}
	// A resource whose id cannot be a key fails when a hook wants the section;
	// plugins without hooks protect it all the same.
	section, err := written.Section(r.ID)
	if err != nil {
		section = nil
	}
	c := &protection.Call{
		Resource:     r,
		Checkpoint:   f.checkpoint,
		Copy:         f.copied,
		Section:      section,
		Graph:        f.graph,
		Parameters:   f.parameters.of(r),
		NewResources: f.newResources,
		Status:       f.status,
		Log:          f.log.WithFields(logrus.Fields{"resource": r.ID, "type": r.Type}),
	}
	if f.run != nil {
		c.State = resourceState{f.run, markKey(stateMarks, r.Key())}
		c.Progress = func(percent int) { f.run.note(r.Key(), func(p *Progress) { p.Percent = percent }) }
	}
	return c
}

// walk runs the hooks to their end.
func (f *flow) walk(ctx context.Context) error {
	return workflow.Run(ctx, f.tasks, workflow.Options{Workers: f.run.engine.MaxTasks})
}

// resourceState is what a plugin keeps of one resource.
type resourceState struct {
	run *run
	key string
}

var _ protection.State = resourceState{}

// Load implements protection.State.
func (s resourceState) Load(context.Context) (json.RawMessage, error) {
	return s.run.track.state(s.key), nil
}

// Save implements protection.State.
func (s resourceState) Save(ctx context.Context, document json.RawMessage) error {
	if err := s.run.scribe.save(ctx, s.key, document); err != nil {
		return s.run.given(err)
	}
	s.run.track.recallState(s.key, document)
	return nil
}

// withoutOperation tells that a plugin cannot do what the flow is for.
func withoutOperation(err error) bool { return errors.Is(err, protection.ErrNoOperation) }

// undo removes what a cancelled operation has made, for every resource: a hook
// may have made something that nobody had time to note. It goes on after a
// failure; the error names what is left.
func (f *flow) undo(ctx context.Context) error {
	g := workflow.New()
	var left residue
	tasks := make(map[resource.Key]workflow.ID, f.graph.Len())
	nodes := f.graph.Nodes()
	for _, node := range nodes {
		steps, err := f.undoing(node.Resource)
		if err != nil {
			left.add(node.Key(), err)
		}
		tasks[node.Key()] = g.Add(workflow.Task{Name: "undo_" + node.Key().String(), Run: func(ctx context.Context) error {
			for _, step := range steps {
				err := step(ctx)
				if handedOver(err) || protection.HandedOver(ctx) {
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
	// What uses others goes before them.
	for _, node := range nodes {
		for _, child := range node.Children {
			g.Link(tasks[node.Key()], tasks[child.Key()])
		}
	}
	for _, u := range f.uses() {
		linkAll(g, u.users, u.used, func(key resource.Key) workflow.ID { return tasks[key] })
	}
	if err := workflow.Run(ctx, g, workflow.Options{Workers: f.run.engine.MaxTasks}); err != nil {
		return err
	}
	return left.err()
}

// residue is what could not be taken back. What went wrong is often the same for
// many resources, and is said once.
type residue struct {
	mu     sync.Mutex
	texts  []string
	of     map[string][]string // resources by text
	errors []error
}

func (l *residue) add(key resource.Key, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := describe(err)
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
	return &residueError{text: strings.Join(parts, "; "), errors: l.errors}
}

type residueError struct {
	text   string
	errors []error
}

func (e *residueError) Error() string { return e.text }

// Unwrap returns what went wrong with each resource.
func (e *residueError) Unwrap() []error { return e.errors }

// undoing lists the steps that take back what the hooks of a resource have made.
// Without an Undo of the plugin's own, a backup is removed as it is when its
// checkpoint is deleted.
func (f *flow) undoing(r resource.Resource) ([]func(context.Context) error, error) {
	operation, err := f.operation(f.kind, r)
	if err != nil {
		return nil, err
	}
	call := f.call(r)
	if call.Section == nil || !hasHooks(operation) {
		return nil, nil
	}
	hooks := []protection.Hook{operation.Undo}
	if operation.Undo == nil {
		if f.kind != protection.Protect && f.kind != protection.Copy {
			return nil, nil
		}
		removal, err := f.operation(protection.Delete, r)
		if err != nil {
			return nil, err
		}
		if f.copied != nil {
			call.Checkpoint, call.Copy = f.copied, nil
		}
		call.State = nil // it is not the state of a deletion
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

// use is a type of resources in a graph, and those that use it.
type use struct{ users, used []resource.Key }

// uses lists what the resources of the graph use by what their operations say. A
// resource without an operation uses nothing, and none uses its own type.
func (f *flow) uses() []use {
	byType := map[string]*use{}
	of := func(resourceType string) *use {
		if byType[resourceType] == nil {
			byType[resourceType] = &use{}
		}
		return byType[resourceType]
	}
	for _, node := range f.graph.Nodes() {
		own := of(node.Type)
		own.used = append(own.used, node.Key())
		operation, err := f.operation(f.kind, node.Resource)
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

// linkAll makes every task of after wait for every task of before. A barrier
// between them takes as many links as there are tasks: a thousand servers on a
// hundred thousand networks would have 10^8 links of their own.
func linkAll(g *workflow.Graph, before, after []resource.Key, task func(resource.Key) workflow.ID) {
	barrier := g.Add(workflow.Task{Name: "barrier"})
	for _, key := range before {
		g.Link(task(key), barrier)
	}
	for _, key := range after {
		g.Link(barrier, task(key))
	}
}
