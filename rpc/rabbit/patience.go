// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"sync"
	"time"
)

// patience makes contexts that last for a time, and lets all who ask within an
// eighth of it share one: a context and a timer for each reply cost more than the
// rest of sending it.
type patience struct {
	mu     sync.Mutex
	parent context.Context
	lasts  time.Duration
	fresh  time.Time // until when the context can be shared
	shared context.Context
	cancel context.CancelFunc
}

// of is a context that ends with its parent, or when the time has passed and up to
// an eighth more. Whoever asks calls done in the end. Those whose parent is not the
// one of the shared context get a context of their own, so that two parents do not
// take it from each other all the time.
func (p *patience) of(parent context.Context, lasts time.Duration) (ctx context.Context, done context.CancelFunc) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared != nil && now.Before(p.fresh) {
		if p.parent == parent && p.lasts == lasts {
			return p.shared, func() {}
		}
		return context.WithTimeout(parent, lasts)
	}
	// The one before ends by itself: others may be using it.
	extra := lasts / 8
	p.parent, p.lasts, p.fresh = parent, lasts, now.Add(extra)
	p.shared, p.cancel = context.WithTimeout(parent, lasts+extra)
	return p.shared, func() {}
}

// end cancels the latest context.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
}
