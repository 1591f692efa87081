// SPDX-License-Identifier: Apache-2.0

package protectable

import (
	"context"
	"sync"
)

// memo keeps the answers of the cloud while one graph is made. Each server of a
// project asks for the volumes attached to it, and the listing is the same.
type memo struct {
	mu      sync.Mutex
	answers map[any]*answer
}

type answer struct {
	done  chan struct{}
	value any
	err   error
}

type memoKey struct{}

func withMemo(ctx context.Context) context.Context {
	return context.WithValue(ctx, memoKey{}, &memo{answers: map[any]*answer{}})
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
