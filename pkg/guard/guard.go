// SPDX-License-Identifier: Apache-2.0

// Package guard stops changes that others would see, to objects in a bank or to
// resources of a service, when the right to make them has ended. A context carries
// guards, and the changing code checks them immediately before the change, since a
// process may be suspended between any two steps for longer than its lease lasts. The
// end of the context gives the same signal, but later, when timers fire.
package guard

import (
	"context"
	"sync"
)

// key is the context key of the guards.
type key struct{}

// guards is a list of guards; a change needs the consent of all.
type guards struct {
	valid func() error
	outer *guards
}

// With returns a context under which changes are allowed only while valid, and every
// guard already in ctx, returns nil. A context detached from the cancellation of ctx
// (context.WithoutCancel) keeps the guard. A nil valid changes nothing.
func With(ctx context.Context, valid func() error) context.Context {
	if valid == nil {
		return ctx
	}
	outer, _ := ctx.Value(key{}).(*guards)
	return context.WithValue(ctx, key{}, &guards{valid: valid, outer: outer})
}

// Allowed returns nil if a change may proceed, and otherwise the error of the guard
// that forbids it.
func Allowed(ctx context.Context) error {
	g, _ := ctx.Value(key{}).(*guards)
	for ; g != nil; g = g.outer {
		if err := g.valid(); err != nil {
			return err
		}
	}
	return nil
}

// Sticky returns a context whose guards, taken from ctx, keep their first refusal: a
// change that was refused once stays refused.
func Sticky(ctx context.Context) context.Context {
	sticky := &sticky{valid: func() error { return Allowed(ctx) }}
	return context.WithValue(ctx, key{}, &guards{valid: sticky.ask})
}

// sticky is a guard that keeps its first refusal.
type sticky struct {
	valid func() error

	mu      sync.Mutex
	refused error
}

func (s *sticky) ask() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = s.valid()
	}
	return s.refused
}
