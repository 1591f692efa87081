// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"fmt"
)

// setRetry copies the bound, which counts down.
func (m *message) setRetry(retry *int) {
	if retry != nil && *retry >= 0 {
		left := *retry
		m.retry = &left
	}
}

// exhausted takes one of the further attempts and reports whether none was left.
func (m *message) exhausted() bool {
	if m.retry == nil {
		return false
	}
	*m.retry--
	return *m.retry < 0
}

// session is a live connection for the message: waited for as long as ctx lasts,
// or through no more vain attempts to connect than the message may be retried.
func (t *Transport) session(ctx context.Context, m *message) (*session, error) {
	if m.retry == nil {
		return t.senders.get(ctx)
	}
	return t.senders.getWithin(ctx, *m.retry)
}

// failed notes an attempt to connect in vain and wakes those who count them.
func (l *link) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rounds++
	l.trouble = err
	close(l.changed)
	l.changed = make(chan struct{})
}

// getWithin is get for those who give up after a first and retry more attempts to
// connect in vain. Whoever comes during an outage counts from its beginning.
// oslo.messaging: impl_rabbit.py ensure(retry=...)
func (l *link) getWithin(ctx context.Context, retry int) (*session, error) {
	if s := l.current(); s != nil {
		return s, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for {
			l.mu.Lock()
			rounds, trouble, changed := l.rounds, l.trouble, l.changed
			l.mu.Unlock()
			if rounds > retry {
				cancel(trouble)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	s, err := l.get(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("waiting for the %s connection: %w", l.purpose, context.Cause(ctx))
	}
	cancel(nil)
	<-watching
	return s, err
}
