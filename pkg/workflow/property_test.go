// SPDX-License-Identifier: Apache-2.0

package workflow_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/pkg/workflow"
)

// history is a graph that writes down what happens to it.
type history struct {
	graph  *workflow.Graph
	before map[int][]int
	fails  map[int]bool

	mu      sync.Mutex
	started []int
	ended   []int
	reverts []int
	early   []int // tasks that started before one of their predecessors had ended
}

func drawHistory(t *rapid.T, mayFail bool) *history {
	h := &history{graph: workflow.New(), before: map[int][]int{}, fails: map[int]bool{}}
	n := rapid.IntRange(0, 30).Draw(t, "tasks")
	for i := range n {
		h.fails[i] = mayFail && rapid.IntRange(0, 9).Draw(t, "fails") == 0
		h.graph.Add(workflow.Task{
			Name:   strconv.Itoa(i),
			Run:    func(context.Context) error { return h.run(i) },
			Revert: func(context.Context, error) error { h.reverts = append(h.reverts, i); return nil },
		})
	}
	if n < 2 {
		return h
	}
	rank := rapid.Permutation(slices.Collect(numbers(n))).Draw(t, "rank")
	for range rapid.IntRange(0, 3*n).Draw(t, "links") {
		a, b := rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b")
		if rank[a] < rank[b] {
			h.graph.Link(workflow.ID(a), workflow.ID(b))
			h.before[b] = append(h.before[b], a)
		}
	}
	return h
}

func numbers(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func (h *history) run(i int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started = append(h.started, i)
	for _, b := range h.before[i] {
		if !slices.Contains(h.ended, b) {
			h.early = append(h.early, i)
		}
	}
	if h.fails[i] {
		return errors.New("drawn failure")
	}
	h.ended = append(h.ended, i)
	return nil
}

func TestEveryTaskRunsOnceAfterItsPredecessors(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t, false)
		workers := rapid.IntRange(0, 8).Draw(t, "workers")
		if err := workflow.Run(context.Background(), h.graph, workflow.Options{Workers: workers}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(h.started)
		if want := slices.Collect(numbers(h.graph.Len())); !slices.Equal(h.started, want) {
			t.Errorf("tasks that ran: %v, want %v", h.started, want)
		}
		if len(h.early) > 0 || len(h.reverts) > 0 {
			t.Errorf("too early: %v; reverted: %v", h.early, h.reverts)
		}
	})
}

func TestExactlyWhatRanIsReverted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t, true)
		err := workflow.Run(context.Background(), h.graph, workflow.Options{Workers: rapid.IntRange(1, 8).Draw(t, "workers")})
		anyFailed := slices.ContainsFunc(h.started, func(i int) bool { return h.fails[i] })
		if anyFailed != (err != nil) {
			t.Fatalf("a task failed: %t, error %v", anyFailed, err)
		}
		if len(h.early) > 0 {
			t.Errorf("too early: %v", h.early)
		}
		if !anyFailed {
			if len(h.reverts) > 0 {
				t.Errorf("reverted %v without a failure", h.reverts)
			}
			return
		}
		for i, r := range h.reverts { // what came later goes first
			for _, b := range h.before[r] {
				if slices.Contains(h.reverts[:i], b) {
					t.Errorf("%d was reverted before %d, which came after it", b, r)
				}
			}
		}
		slices.Sort(h.started)
		slices.Sort(h.reverts)
		if !slices.Equal(h.started, h.reverts) {
			t.Errorf("reverted %v, want %v", h.reverts, h.started)
		}
	})
}
