// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/workflow"
	"github.com/karbor-project/karbor/providers/protection"
)

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
