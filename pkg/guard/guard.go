// SPDX-License-Identifier: Apache-2.0

// Package guard ends the right to change what others see: objects of a bank,
// resources of a service. A context carries its guards, and who is about to change
// something asks them right before, since a process may be stopped between any two
// of its steps for longer than it may own anything. That a context ends says the
// same, but later: timers fire in their own time.
package guard

import (
	"context"
	"sync"
)

// key is that of the guards in a context.
type key struct{}

// guards is a list: a change needs all of them.
type guards struct {
	valid func() error
	outer *guards
}

// With returns a context under which changes need that valid returns nil, beside
// what they needed before. A context that does not end with ctx
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
