// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"errors"
	"sync"
)

// ErrLoop reports a resource that depends on itself.
var ErrLoop = errors.New("A loop was found in the graph") //nolint:staticcheck // shown to users as it is; karbor: graph.py

// ErrTooLarge reports a graph with too many resources or links.
var ErrTooLarge = errors.New("the resource graph is too large")

// Node is a resource in a graph. A resource that several parents share is one
// node with several parents.
type Node struct {
	Resource
	// Children are the dependents, in the order in which they were found.
	Children []*Node
}

// Graph is a forest of resources with shared branches. It must not be changed
// after its first use; then it is safe for concurrent use.
type Graph struct {
	// Roots are the nodes without parents.
	Roots []*Node

	once  sync.Once
	order []*Node
	index map[Key]*Node
}

// Walk calls visit once for each node, children before parents, and stops at
// the first error, which it returns.
func (g *Graph) Walk(visit func(*Node) error) error {
	for _, n := range g.Nodes() {
		if err := visit(n); err != nil {
			return err
		}
	}
	return nil
}

// Nodes returns every node once, children before parents. The caller must not
// change the slice.
func (g *Graph) Nodes() []*Node {
	g.once.Do(g.buildIndex)
	return g.order
}

// Len returns the number of nodes.
func (g *Graph) Len() int { return len(g.Nodes()) }

// Find returns the node of a resource, or nil.
func (g *Graph) Find(k Key) *Node {
	g.once.Do(g.buildIndex)
	return g.index[k]
}

func (g *Graph) buildIndex() {
	g.order, _ = postOrder(g.Roots)
	g.index = make(map[Key]*Node, len(g.order))
	for _, n := range g.order {
		if _, ok := g.index[n.Key()]; !ok {
			g.index[n.Key()] = n
		}
	}
}

// postOrder lists the nodes below roots, each once, children before parents. It uses an
// explicit stack, so that depth costs no call frames. On a loop it still lists all
// nodes and reports ErrLoop.
func postOrder(roots []*Node) ([]*Node, error) {
	type frame struct {
		node *Node
		next int // index of the child to enter next
	}
	var (
		order []*Node
		stack []frame
		err   error
		open  = make(map[*Node]bool) // true while on the stack, false once left
	)
	for _, root := range roots {
		if _, met := open[root]; met {
			continue
		}
		open[root] = true
		stack = append(stack, frame{node: root})
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == len(top.node.Children) {
				open[top.node] = false
				order = append(order, top.node)
				stack = stack[:len(stack)-1]
				continue
			}
			child := top.node.Children[top.next]
			top.next++
			onStack, met := open[child]
			if !met {
				open[child] = true
				stack = append(stack, frame{node: child})
			} else if onStack {
				err = ErrLoop
			}
		}
	}
	return order, err
}
