// SPDX-License-Identifier: Apache-2.0

// Package guard ends the right to make changes that others see: of objects in a bank, of
// resources of a service. A context carries its guards, and code that changes something
// asks them right before, since a process may be stopped between any two steps for longer
// than its lease lasts. The end of the context says the same, but later, when timers
// fire.
package guard

import (
	"context"
	"sync"
)

// key is the key of the guards in a context.
type key struct{}

// guards is a list: a change needs all of them.
type guards struct {
	valid func() error
	outer *guards
}

// With returns a context under which changes are allowed only while valid, and every
// guard that ctx has already, returns nil. A context that does not end with ctx
// (context.WithoutCancel) keeps the guard. A nil valid changes nothing.
func With(ctx context.Context, valid func() error) context.Context {
	if valid == nil {
		return ctx
	}
	outer, _ := ctx.Value(key{}).(*guards)
	return context.WithValue(ctx, key{}, &guards{valid: valid, outer: outer})
}

// Allowed returns nil if a change may go on, and else the error of the guard that
// forbids it.
func Allowed(ctx context.Context) error {
	g, _ := ctx.Value(key{}).(*guards)
	for ; g != nil; g = g.outer {
		if err := g.valid(); err != nil {
			return err
		}
	}
	return nil
}

// Sticky returns a context with the guards of ctx that stay with their first
// refusal: what it refused refuses the rest of a change, too.
func Sticky(ctx context.Context) context.Context {
	sticky := &sticky{valid: func() error { return Allowed(ctx) }}
	return context.WithValue(ctx, key{}, &guards{valid: sticky.ask})
}

// sticky is a guard that stays with its first refusal.
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
