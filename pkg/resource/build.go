// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Children finds the direct dependents of a resource. Build calls it from several
// goroutines at once, but only once for each resource.
type Children = func(ctx context.Context, parent Resource) ([]Resource, error)

// Build finds everything that depends on the starting resources and returns the graph.
// At most parallel calls of children run at a time. The result does not depend on their
// timing: it equals a depth-first search in the order of starts and of the answers.
//
// A resource is identified by its Key. A starting resource keeps its given name;
// extra_info is the first JSON object that children reports for a resource, or else the
// value with which it was first found. Repeated starts and repeated children of one
// parent count once. The roots are the starts that are not children, in the given order.
//
// Errors: ErrLoop, the first failure of children in the order of the search, and the
// cause of ctx.
func Build(ctx context.Context, starts []Resource, children Children, parallel int) (*Graph, error) {
	b := builder{index: make(map[Key]int, len(starts))}
	for _, r := range starts {
		b.add(r)
	}
	b.starts = len(b.met)
	for level := 0; level < len(b.met); {
		end := len(b.met)
		answers, err := fetch(ctx, b.met[level:end], children, parallel)
		if err != nil {
			return nil, fmt.Errorf("finding dependent resources: %w", err)
		}
		for i, answer := range answers {
			b.record(level+i, answer)
		}
		level = end
	}
	return b.graph()
}

// builder is the graph discovered so far, level by level. Nodes are numbered in the
// order of discovery.
type builder struct {
	met    []Resource
	starts int         // the first so many of met were given
	index  map[Key]int // number of each resource
	edges  [][]edge    // dependents of each resource
	seenBy []int       // last parent, plus one, that named the resource
}

// edge keeps the dependent as reported by its parent, because only the finished search
// shows which report counts.
type edge struct {
	to     int
	report Resource
}

func (b *builder) add(r Resource) int {
	if i, ok := b.index[r.Key()]; ok {
		return i
	}
	i := len(b.met)
	b.index[r.Key()] = i
	b.met = append(b.met, r)
	b.edges = append(b.edges, nil)
	b.seenBy = append(b.seenBy, 0)
	return i
}

func (b *builder) record(parent int, answer []Resource) {
	if len(answer) == 0 {
		return
	}
	edges := make([]edge, 0, len(answer))
	for _, r := range answer {
		i := b.add(r)
		if b.seenBy[i] == parent+1 {
			continue
		}
		b.seenBy[i] = parent + 1
		edges = append(edges, edge{to: i, report: r})
	}
	b.edges[parent] = edges
}

// graph makes the nodes, with the name and extra_info that count in depth-first order.
func (b *builder) graph() (*Graph, error) {
	nodes := make([]Node, len(b.met))
	isChild := make([]bool, len(b.met))
	for i := range nodes {
		nodes[i].Resource = b.met[i]
		if len(b.edges[i]) == 0 {
			continue
		}
		nodes[i].Children = make([]*Node, len(b.edges[i]))
		for j, e := range b.edges[i] {
			nodes[i].Children[j] = &nodes[e.to]
			isChild[e.to] = true
		}
	}
	starts := make([]*Node, b.starts)
	g := &Graph{}
	for i := range starts {
		starts[i] = &nodes[i]
		if !isChild[i] {
			g.Roots = append(g.Roots, &nodes[i])
		}
	}
	if _, err := postOrder(starts); err != nil {
		return nil, err
	}
	b.applyReports(nodes)
	return g, nil
}

// applyReports walks the edges in depth-first order and gives each node the report that
// counts.
func (b *builder) applyReports(nodes []Node) {
	type frame struct{ node, next int }
	var (
		stack   []frame
		entered = make([]bool, len(nodes))
		named   = make([]bool, len(nodes)) // a report has been taken
	)
	for start := range b.starts {
		named[start] = true
	}
	for start := range b.starts {
		if entered[start] {
			continue
		}
		entered[start] = true
		stack = append(stack, frame{node: start})
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == len(b.edges[top.node]) {
				stack = stack[:len(stack)-1]
				continue
			}
			e := b.edges[top.node][top.next]
			top.next++
			n := &nodes[e.to]
			if !named[e.to] {
				named[e.to] = true
				n.Resource = e.report
			} else if !isObject(n.ExtraInfo) && isObject(e.report.ExtraInfo) {
				n.ExtraInfo = e.report.ExtraInfo
			}
			if !entered[e.to] {
				entered[e.to] = true
				stack = append(stack, frame{node: e.to})
			}
		}
	}
}

func isObject(raw []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{"))
}

// errAbandoned is the cause for cancelling calls whose results are no longer needed
// after another call has failed.
var errAbandoned = errors.New("abandoned after another failure")

// fetch calls children for each parent, at most parallel at a time, and returns the
// answers in the order of the parents. After a failure the running calls are cancelled
// and their results are ignored, unless they too had failed and come earlier in the
// order.
func fetch(ctx context.Context, parents []Resource, children Children, parallel int) ([][]Resource, error) {
	answers := make([][]Resource, len(parents))
	errs := make([]error, len(parents))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(parents) || ctx.Err() != nil {
				return
			}
			answers[i], errs[i] = children(ctx, parents[i])
			if errs[i] != nil {
				errs[i] = fmt.Errorf("children of %s: %w", parents[i].Key(), errs[i])
				cancel(errAbandoned)
				return
			}
		}
	}
	runAll(min(max(parallel, 1), len(parents)), work)

	cause := context.Cause(ctx)
	var first error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, errAbandoned) {
			return nil, err
		}
	}
	if cause != nil && !errors.Is(cause, errAbandoned) {
		return nil, cause
	}
	return answers, first
}

// runAll runs n copies of work and waits for them. One copy needs no goroutine. A panic
// in a copy is raised again in the caller's goroutine, once all copies are done, so
// that the caller can recover from it.
func runAll(n int, work func()) {
	if n == 1 {
		work()
		return
	}
	var (
		wg       sync.WaitGroup
		panicked atomic.Pointer[any]
	)
	for range n {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					panicked.CompareAndSwap(nil, &v)
				}
			}()
			work()
		})
	}
	wg.Wait()
	if v := panicked.Load(); v != nil {
		panic(*v)
	}
}
