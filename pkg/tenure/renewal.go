// SPDX-License-Identifier: Apache-2.0

package tenure

import (
	"context"
	"fmt"
	"time"
)

// answer is what became of a request.
type answer struct {
	start time.Time
	err   error
}

// run asks until Stop. The requests run beside the loop, so that one that hangs
// cannot delay the signal of the loss.
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

// ask is one request.
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

// deadline returns a channel that delivers when the present tenure ends, nil
// without one.
func (t *Tenure) deadline() <-chan time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.present.held || t.present.ctx.Err() != nil {
		return nil
	}
	return t.config.Clock.After(t.present.until.Sub(t.config.Clock.Now()))
}

// take notes an answer and returns the pause until the next request.
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

// hold notes that a request was granted. A tenure that ran out meanwhile is
// over, even if nobody noticed: others may have acted in between.
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
