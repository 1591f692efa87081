// SPDX-License-Identifier: Apache-2.0

package protectable

import (
	"context"
	"errors"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
)

// few is the number of resources up to which single look-ups cost less than a listing,
// whose length is not known.
const few = 8

// singles is how many resources of a type are asked for one by one while one graph
// is made: those that a listing lacks. A plan may name thousands that there are not.
const singles = 32

// ErrUnlisted reports a resource that no listing has and that was not asked for by
// its id, since so many had been before it.
var ErrUnlisted = errors.New("no listing has it, and too many others were asked for one by one")

// memo keeps the answers of the cloud while one graph is made. Each server of a
// project asks for the volumes attached to it, and the listing is the same.
type memo struct {
	starts  map[string]int // how many resources of each type the graph starts with
	mu      sync.Mutex
	answers map[any]*answer
	asked   map[string]int // for single resources, by type
	warned  sync.Once
	left    remark.List // what of the graph is left out
}

type answer struct {
	done  chan struct{}
	value any
	err   error
}

type memoKey struct{}

func withMemo(ctx context.Context, starts []resource.Resource) context.Context {
	m := &memo{starts: map[string]int{}, answers: map[any]*answer{}, asked: map[string]int{}}
	for _, r := range starts {
		m.starts[r.Type]++
	}
	return context.WithValue(ctx, memoKey{}, m)
}

// Many reports whether a graph under construction has so many resources of a type that
// listing all of them is cheaper than single look-ups: it is the graph of a project, or
// more than a few were in the plan or have been looked up so far.
func Many(ctx context.Context, resourceType string) bool {
	m, ok := ctx.Value(memoKey{}).(*memo)
	if !ok || m.starts[resource.Project] > 0 || m.starts[resourceType] > few {
		return ok
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[resourceType] >= few
}

// Single returns nil if a resource of a type may be asked for by its id, and else
// ErrUnlisted. It counts as asked for then. Outside the making of a graph every one
// may.
func Single(ctx context.Context, resourceType string) error {
	m, ok := ctx.Value(memoKey{}).(*memo)
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked[resourceType] == singles {
		return ErrUnlisted
	}
	m.asked[resourceType]++
	return nil
}

// Starts is how many resources of a type the graph that is being made starts with.
func Starts(ctx context.Context, resourceType string) int {
	m, ok := ctx.Value(memoKey{}).(*memo)
	if !ok {
		return 0
	}
	return m.starts[resourceType]
}

// Omit remarks that a resource which belongs to the graph that is being made is not in
// it, and why. Outside the making of a graph it does nothing.
func Omit(ctx context.Context, r resource.Resource, why string) {
	leave(ctx, remark.Remark{Resource: remark.Resource(r.Key()), Aspect: "resource", Was: r.Name, Is: notProtected, Why: why})
}

const notProtected = "not protected"

func leave(ctx context.Context, one remark.Remark) {
	if m, ok := ctx.Value(memoKey{}).(*memo); ok {
		m.left.Add(one)
	}
}

// left returns the remarks on resources that are left out of the graph under construction.
func left(ctx context.Context) []remark.Remark {
	return ctx.Value(memoKey{}).(*memo).left.Document().Remarks
}

// severity returns the level at which to log that dependents are left out. A listing that
// is missing is logged once: there may be thousands of parents.
func severity(ctx context.Context, err error) logrus.Level {
	level := logrus.WarnLevel
	if m, ok := ctx.Value(memoKey{}).(*memo); ok && errors.Is(err, ErrUnlisted) {
		level = logrus.DebugLevel
		m.warned.Do(func() { level = logrus.WarnLevel })
	}
	return level
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
