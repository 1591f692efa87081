// SPDX-License-Identifier: Apache-2.0

package protectable

import (
	"context"
	"sync"

	"github.com/karbor-project/karbor/pkg/resource"
)

// few is up to how many resources that are looked up one by one cost less than a
// listing, of which nobody knows how long it is.
const few = 8

// memo keeps the answers of the cloud while one graph is made. Each server of a
// project asks for the volumes attached to it, and the listing is the same.
type memo struct {
	starts  map[string]int // how many resources of each type the graph starts with
	mu      sync.Mutex
	answers map[any]*answer
}

type answer struct {
	done  chan struct{}
	value any
	err   error
}

type memoKey struct{}

func withMemo(ctx context.Context, starts []resource.Resource) context.Context {
	m := &memo{starts: map[string]int{}, answers: map[any]*answer{}}
	for _, r := range starts {
		m.starts[r.Type]++
	}
	return context.WithValue(ctx, memoKey{}, m)
}

// Many tells whether the graph that is being made has so many resources of a type
// that a listing of all there are is the cheaper way to them: those of a project,
// or more than a few.
func Many(ctx context.Context, resourceType string) bool {
	m, ok := ctx.Value(memoKey{}).(*memo)
	return ok && (m.starts[resource.Project] > 0 || m.starts[resourceType] > few)
}

// Once returns what load returns, loaded once per graph for each key, failures
// included. Outside the making of a graph it just loads. Keys should be of a
// type of the plugin's own, as with context values.
func Once[T any](ctx context.Context, key any, load func(context.Context) (T, error)) (T, error) {
	m, ok := ctx.Value(memoKey{}).(*memo)
	if !ok {
		return load(ctx)
	}
	m.mu.Lock()
	a, known := m.answers[key]
	if !known {
		a = &answer{done: make(chan struct{})}
		m.answers[key] = a
	}
	m.mu.Unlock()
	if !known {
		defer close(a.done)
		value, err := load(ctx)
		a.value, a.err = value, err
		return value, err
	}
	var zero T
	select {
	case <-a.done:
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
	if a.err != nil {
		return zero, a.err
	}
	value, ok := a.value.(T)
	if !ok {
		return load(ctx) // the loader panicked, or two plugins share a key
	}
	return value, nil
}
