// SPDX-License-Identifier: Apache-2.0

// Package workflow runs a graph of tasks: each task once, after all tasks that it was
// linked behind, several at a time. When a task fails, finished tasks are reverted. The
// package does not know what the tasks do and keeps no state beyond one run.
package workflow

import (
	"context"
	"errors"
	"fmt"
)

// ErrCycle reports tasks that wait for each other.
var ErrCycle = errors.New("tasks wait for each other")

// Task is one step.
type Task struct {
	// Name appears in events and errors. It need not be unique.
	Name string

	// Run does the work of the step; nil is a step without work. Its context is the one
	// given to the function Run.
	Run func(ctx context.Context) error

	// Revert undoes the step, or records that the step failed; nil if there is nothing
	// to undo. It is called in a failed run once the step has ended, whether or not the
	// step succeeded. cause is the failure of the run. The context keeps the values of
	// Run's context but not its cancellation: a revert that must not happen, for
	// example because another process carries on, checks cause.
	Revert func(ctx context.Context, cause error) error
}

// ID is the number of a task in its graph.
type ID int32

// Graph is a set of tasks and their order. It is built by one goroutine; then
// any number of runs may use it at once.
type Graph struct {
	tasks []Task
	links []link
}

type link struct{ before, after ID }

// New returns an empty graph.
func New() *Graph { return &Graph{} }

// Add adds a task to the graph.
func (g *Graph) Add(t Task) ID {
	g.tasks = append(g.tasks, t)
	return ID(len(g.tasks) - 1)
}

// Link makes after wait for before. Linking twice changes nothing. Both must come from
// Add of this graph; Link panics otherwise.
func (g *Graph) Link(before, after ID) {
	for _, id := range [...]ID{before, after} {
		if id < 0 || int(id) >= len(g.tasks) {
			panic(fmt.Sprintf("workflow: no task %d in a graph of %d", id, len(g.tasks)))
		}
	}
	g.links = append(g.links, link{before, after})
}

// Len returns the number of tasks.
func (g *Graph) Len() int { return len(g.tasks) }

// Links returns the number of links.
func (g *Graph) Links() int { return len(g.links) }

// Check returns ErrCycle if some tasks could never start. Run calls Check before it
// starts anything.
func (g *Graph) Check() error { return compile(g).check(g) }

// plan is a graph ready for one run: the successors of task i are
// successors[first[i]:first[i+1]], and waiting[i] tasks come before it. Plain
// arrays keep a run of many tasks small. Links are counted in int: there may be
// more of them than an ID can tell apart.
type plan struct {
	first      []int
	successors []ID
	waiting    []int
}

func compile(g *Graph) *plan {
	n := len(g.tasks)
	p := &plan{
		first:      make([]int, n+1),
		successors: make([]ID, len(g.links)),
		waiting:    make([]int, n),
	}
	for _, l := range g.links {
		p.first[l.before+1]++
		p.waiting[l.after]++
	}
	for i := range n {
		p.first[i+1] += p.first[i]
	}
	fill := make([]int, n)
	for _, l := range g.links {
		p.successors[p.first[l.before]+fill[l.before]] = l.after
		fill[l.before]++
	}
	return p
}

func (p *plan) after(id ID) []ID { return p.successors[p.first[id]:p.first[id+1]] }

// ready lists the tasks that have no predecessors, with capacity for all tasks.
func (p *plan) ready() []ID {
	ready := make([]ID, 0, len(p.waiting))
	for i, n := range p.waiting {
		if n == 0 {
			ready = append(ready, ID(i))
		}
	}
	return ready
}

// check visits the tasks in an order that respects the links and reports whether all
// are reached.
func (p *plan) check(g *Graph) error {
	waiting := make([]int, len(p.waiting))
	copy(waiting, p.waiting)
	order := p.ready()
	for i := 0; i < len(order); i++ {
		for _, next := range p.after(order[i]) {
			if waiting[next]--; waiting[next] == 0 {
				order = append(order, next)
			}
		}
	}
	if len(order) == len(waiting) {
		return nil
	}
	for i, n := range waiting {
		if n > 0 {
			return fmt.Errorf("%w: %d tasks can never start, the first is %q", ErrCycle, len(waiting)-len(order), g.tasks[i].Name)
		}
	}
	return ErrCycle
}
