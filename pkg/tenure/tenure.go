// SPDX-License-Identifier: Apache-2.0

// Package tenure holds a right to act for a limited time, granted by another party: a
// store with leases, or a database in which workers announce themselves. The right has
// to be renewed regularly. It ends by itself when renewal fails for too long, before
// the granting party lets others take over.
//
// The time is counted by the local clock, from before the request that renewed the
// right. The two clocks need not agree: the local clock must only not run slower than
// the other by more than the margin. A process that was suspended notices by its clock
// that the time is over, before any of its timers fires.
package tenure

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Clock is the source of time. After delivers the time once d has passed, like
// time.After. Zero fields mean the machine's clock.
type Clock struct {
	Now   func() time.Time
	After func(d time.Duration) <-chan time.Time
}

// Config of a Tenure.
type Config struct {
	// Request asks for the tenure or renews it. It makes one attempt and is never
	// called concurrently.
	Request func(ctx context.Context, held bool) error
	// Err is wrapped by every refusal.
	Err error

	Hold    time.Duration // what a request grants, counted by who grants it
	Margin  time.Duration // what is left of that when the tenure ends here
	Renew   time.Duration // from one request to the next
	Retry   time.Duration // from a failed request to the next
	Timeout time.Duration // of a request
	// Patience is the timeout of a request while the tenure is not held, when there is
	// nothing to lose. A value below Timeout means Timeout.
	Patience time.Duration
	Clock    Clock

	// Observers are called one at a time from one goroutine. Each may be nil.
	Failed func(err error)  // a request
	Began  func(again bool) // a tenure that others may trust; again: after a loss
	Lost   func()           // its end
}

// Tenure is the tenure of one holder. It is safe for concurrent use.
type Tenure struct {
	config Config

	ctx   context.Context // ended by Stop
	stop  context.CancelFunc
	done  chan struct{} // closed when the goroutine has ended
	first chan struct{} // closed after the first request

	mu      sync.Mutex
	started bool
	failure error // of the last request
	present *period
	began   chan struct{} // closed when the present period, or the one after it, is held
}

// period is one uninterrupted time of holding. It begins when the tenure is granted.
type period struct {
	held  bool
	until time.Time // when it ends here
	ctx   context.Context
	end   context.CancelCauseFunc
}

func newPeriod() *period {
	ctx, end := context.WithCancelCause(context.Background())
	return &period{ctx: ctx, end: end}
}

// New returns a tenure that has not been requested yet.
func New(c Config) *Tenure {
	if c.Clock.Now == nil {
		c.Clock.Now = time.Now
	}
	if c.Clock.After == nil {
		c.Clock.After = time.After
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Tenure{
		config: c, ctx: ctx, stop: stop, done: make(chan struct{}), first: make(chan struct{}),
		present: newPeriod(), began: make(chan struct{}),
	}
}

// Start begins to request the tenure and renews it until Stop. It may be called more
// than once and does nothing after Stop.
func (t *Tenure) Start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started && t.ctx.Err() == nil {
		t.started = true
		go t.run()
	}
}

// Tried waits until the first request has ended, ctx has ended or the tenure was
// stopped. It returns at once when the tenure was never started.
func (t *Tenure) Tried(ctx context.Context) {
	if !t.Started() {
		return
	}
	select {
	case <-t.first:
	case <-t.done:
	case <-ctx.Done():
	}
}

// Started reports whether Start was called.
func (t *Tenure) Started() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.started
}

// Await waits until the tenure is held. It fails with the cause of ctx, or when the
// tenure is stopped.
func (t *Tenure) Await(ctx context.Context) error {
	for {
		t.mu.Lock()
		err := t.valid(t.present)
		var change <-chan struct{} = t.began
		if t.present.held && t.present.ctx.Err() == nil {
			change = t.present.ctx.Done() // it ran out, which is noticed in a moment
		}
		t.mu.Unlock()
		if err == nil {
			return nil
		}
		select {
		case <-change:
		case <-t.ctx.Done():
			return fmt.Errorf("%w: it is given up", t.config.Err)
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
	}
}

// Valid returns nil while the tenure is held, and otherwise an error that wraps Err and
// names the reason.
func (t *Tenure) Valid() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.valid(t.present)
}

// Fence returns a Valid that is bound to the present period: once that has ended, it
// fails for ever, even if the tenure is granted again.
func (t *Tenure) Fence() func() error {
	_, fence := t.Present()
	return fence
}

// Context returns the context of the present period. The context ends with the period,
// with a cause that wraps Err; the next period has a new context. Before the first
// period, Context returns the context of the first. Stop does not end the context: the
// tenure then expires, and Valid reports when.
func (t *Tenure) Context() context.Context {
	ctx, _ := t.Present()
	return ctx
}

// Present returns Context and Fence of the same period. The fence fails as soon as the
// time is over; the context ends soon after.
func (t *Tenure) Present() (ctx context.Context, fence func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.present
	return p.ctx, func() error {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.valid(p)
	}
}

// Stop stops renewing and waits for a running request. It may be called more than once.
func (t *Tenure) Stop() {
	t.stop()
	if t.Started() {
		<-t.done
	}
}

// End stops and ends the tenure at once, with the given reason as the cause.
func (t *Tenure) End(reason string) {
	t.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(reason)
}

// valid checks a period. The caller holds the lock.
func (t *Tenure) valid(p *period) error {
	if cause := context.Cause(p.ctx); cause != nil {
		return cause
	}
	if !p.held {
		if t.failure != nil {
			// Only the text is kept: the store's answer must not be taken for an error
			// about an object that is being written.
			return fmt.Errorf("%w: %v", t.config.Err, t.failure) //nolint:errorlint // see above
		}
		return fmt.Errorf("%w: it was not asked for yet", t.config.Err)
	}
	if late := t.config.Clock.Now().Sub(p.until); late >= 0 {
		return fmt.Errorf("%w: it ran out %s ago", t.config.Err, late.Round(time.Millisecond))
	}
	return nil
}

// answer is the result of a request.
type answer struct {
	start time.Time
	err   error
}

// run makes requests until Stop. They run in their own goroutines, so that a hanging
// request cannot delay the signal of the loss.
func (t *Tenure) run() {
	defer close(t.done)
	answers := make(chan answer, 1)
	ask := func() { go func() { answers <- t.ask() }() }

	ask()
	pending, tried := true, false
	var next <-chan time.Time
	for {
		over := t.deadline()
		select {
		case a := <-answers:
			pending = false
			next = t.config.Clock.After(t.take(a))
			if !tried {
				tried = true
				close(t.first)
			}
		case <-next:
			next, pending = nil, true
			ask()
		case <-over:
			t.lapse()
		case <-t.ctx.Done():
			if pending {
				<-answers
			}
			return
		}
	}
}

// ask makes one request.
func (t *Tenure) ask() answer {
	t.mu.Lock()
	held := t.present.held && t.present.ctx.Err() == nil
	t.mu.Unlock()
	timeout := t.config.Timeout
	if !held {
		timeout = max(timeout, t.config.Patience)
	}
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	a := answer{start: t.config.Clock.Now()}
	a.err = t.config.Request(ctx, held)
	return a
}

// deadline returns a channel that delivers when the present period ends, or nil when
// the tenure is not held.
func (t *Tenure) deadline() <-chan time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.present.held || t.present.ctx.Err() != nil {
		return nil
	}
	return t.config.Clock.After(t.present.until.Sub(t.config.Clock.Now()))
}

// take records an answer and returns the pause until the next request.
func (t *Tenure) take(a answer) time.Duration {
	if a.err == nil {
		a.err = t.hold(a.start)
	}
	if a.err == nil {
		return t.config.Renew
	}
	t.mu.Lock()
	t.failure = a.err
	t.mu.Unlock()
	if t.config.Failed != nil && t.ctx.Err() == nil {
		t.config.Failed(a.err)
	}
	return t.config.Retry
}

// hold records a granted request. A tenure that expired meanwhile has ended, even if
// nobody noticed: others may have acted in between.
func (t *Tenure) hold(start time.Time) error {
	until := start.Add(t.config.Hold - t.config.Margin)
	t.lapse()
	t.mu.Lock()
	if late := t.config.Clock.Now().Sub(until); late >= 0 {
		t.mu.Unlock()
		return fmt.Errorf("it was granted, but the answer came too late by %s", late.Round(time.Millisecond))
	}
	again := t.present.ctx.Err() != nil
	if again {
		t.present = newPeriod()
	}
	fresh := !t.present.held
	t.present.held, t.present.until = true, until
	t.failure = nil
	if fresh {
		close(t.began)
	}
	t.mu.Unlock()
	if fresh && t.config.Began != nil {
		t.config.Began(again)
	}
	return nil
}

// lapse ends the tenure if its time is over.
func (t *Tenure) lapse() {
	t.mu.Lock()
	lost := t.present.held && t.present.ctx.Err() == nil && !t.config.Clock.Now().Before(t.present.until)
	if lost {
		t.end("it could not be renewed in time")
	}
	t.mu.Unlock()
	if lost && t.config.Lost != nil {
		t.config.Lost()
	}
}

// end ends the present period. The caller holds the lock.
func (t *Tenure) end(reason string) {
	if t.present.ctx.Err() != nil {
		return
	}
	cause := fmt.Errorf("%w: %s", t.config.Err, reason)
	if t.failure != nil {
		cause = fmt.Errorf("%w: %v", cause, t.failure) //nolint:errorlint // its text alone, as in valid
	}
	if t.present.held {
		t.began = make(chan struct{})
	}
	t.present.end(cause)
}
