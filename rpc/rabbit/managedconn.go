// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// managedConn keeps one connection to the broker alive. It dials at the first request
// for a session and from then on reconnects until its context ends. One goroutine owns
// the state; users get sessions and ask again when theirs is lost.
type managedConn struct {
	ctx     context.Context // the transport's; the connection ends with it
	purpose string
	dialer  *dialer
	options *Options
	log     logrus.FieldLogger
	// accepted reports whether the broker has ever accepted a login of the transport.
	// Both connections share it.
	accepted *atomic.Bool

	mu          sync.Mutex
	running     bool
	session     *session      // nil while there is no connection
	connections uint64        // made so far
	blocked     time.Duration // in earlier connections
	failures    int           // of attempts to connect since the last connection
	lastErr     error         // why there is no connection
	fatal       error         // why no first connection can be made
	changed     chan struct{} // closed at the next change of the state
	done        chan struct{} // closed when the goroutine has ended
}

func newManagedConn(ctx context.Context, purpose string, d *dialer, o *Options, accepted *atomic.Bool, log logrus.FieldLogger) *managedConn {
	return &managedConn{
		ctx: ctx, purpose: purpose, dialer: d, options: o, log: log.WithField("connection", purpose),
		accepted: accepted, changed: make(chan struct{}),
	}
}

// get waits for a live session until ctx or the transport ends, or until the first
// attempt to connect and retry further ones have failed. During an outage the attempts
// count from its beginning; a nil retry means no limit. oslo.messaging: impl_rabbit.py
// ensure(retry=...)
func (c *managedConn) get(ctx context.Context, retry *int) (*session, error) {
	for {
		c.mu.Lock()
		s, fatal, failures, lastErr, changed := c.session, c.fatal, c.failures, c.lastErr, c.changed
		c.fatal = nil // the next caller tries again
		if s == nil && fatal == nil && !c.running && c.ctx.Err() == nil {
			c.running, c.done = true, make(chan struct{})
			go c.run(c.done)
		}
		c.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return nil, context.Cause(c.ctx)
		case fatal != nil:
			return nil, fatal
		case s != nil && s.alive():
			return s, nil
		case retry != nil && failures > *retry:
			return nil, fmt.Errorf("waiting for the %s connection: %w", c.purpose, lastErr)
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the %s connection: %w", c.purpose, ctx.Err())
		}
	}
}

// current returns the live session or nil.
func (c *managedConn) current() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || !c.session.alive() {
		return nil
	}
	return c.session
}

// update changes the state and wakes all goroutines that wait for a change.
func (c *managedConn) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// run connects, waits for the loss of the connection and connects again. A refused
// login ends it as long as the transport has never been accepted. Later a refusal is
// retried: the broker may still be coming up, or its password may be changing.
func (c *managedConn) run(done chan struct{}) {
	defer close(done)
	tries := c.options.connectAttempts()
	generation := uint64(0)
	for c.ctx.Err() == nil {
		conn, err := c.dialer.dialAny(c.ctx)
		switch {
		case err != nil && c.ctx.Err() != nil:
			return
		case refused(err) && !c.accepted.Load():
			err = explainLogin(err)
			c.update(func() { c.running, c.fatal, c.lastErr = false, err, err })
			return
		case err != nil:
			c.update(func() { c.failures, c.lastErr = c.failures+1, err })
			what := "broker is not reachable"
			if refused(err) || full(err) {
				what = "broker refuses the connection"
			}
			delay := tries.delay()
			c.log.WithError(err).WithField("retry_in", delay.String()).Log(tries.level(what, logrus.ErrorLevel), what)
			pause(c.ctx, delay)
			continue
		}
		tries.succeeded()
		c.accepted.Store(true)
		generation++
		s := newSession(conn, generation)
		c.log.WithFields(logrus.Fields{"broker": conn.RemoteAddr().String(), "generation": generation}).Info("connected to the broker")
		c.update(func() { c.session, c.connections, c.failures, c.lastErr = s, generation, 0, nil })
		err = s.watch(c.ctx, c.log)
		if c.ctx.Err() != nil {
			return
		}
		c.update(func() { c.session, c.blocked, c.lastErr = nil, c.blocked+s.blockedTime(), err })
		delay := c.options.reconnectDelay()
		c.log.WithError(err).WithField("retry_in", delay.String()).Warn("connection to the broker is lost")
		pause(c.ctx, delay)
	}
}

// close waits for the goroutine, whose context must have ended, and closes the
// connection.
func (c *managedConn) close(ctx context.Context) {
	c.mu.Lock()
	s, done := c.session, c.done
	c.mu.Unlock()
	if done != nil {
		<-done
	}
	if s != nil {
		s.close(ctx)
	}
}

// stats returns the connection's part of the transport's Stats.
func (c *managedConn) stats() LinkStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := LinkStats{Connections: c.connections, BlockedTime: c.blocked, Err: c.lastErr}
	if c.session != nil {
		stats.BlockedTime += c.session.blockedTime()
		stats.Connected = c.session.alive()
		stats.Blocked = stats.Connected && c.session.isBlocked()
	}
	return stats
}

// failedAttempt returns a channel that is closed at the next change of the state, and
// the error of the last attempt to connect: nil unless the attempt will be repeated.
func (c *managedConn) failedAttempt() (changed <-chan struct{}, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures == 0 {
		return c.changed, nil
	}
	return c.changed, c.lastErr
}

// attempts paces attempts at an operation that may fail for a long time, and decides
// how their failures are logged. The delay grows from first by step up to limit, and
// each delay is shortened by up to a quarter at random, so that the members of a
// cluster do not return all at once. oslo.messaging: impl_rabbit.py with kombu's
// retry_over_time
type attempts struct {
	first, step, limit time.Duration
	jitter             func() float64 // in [0,1)
	failures           int
	reason             string // of the last failure that was logged at its own level
}

// delay counts a failure and returns the pause before the next attempt.
func (a *attempts) delay() time.Duration {
	d := min(a.first+time.Duration(a.failures)*a.step, a.limit)
	a.failures++
	return d - time.Duration(a.jitter()*float64(d)/4)
}

// level returns the level at which a failure is logged: the failure's own level for the
// first one of a series and whenever the reason changes, otherwise debug, because
// attempts go on every few seconds for as long as the outage lasts.
func (a *attempts) level(reason string, own logrus.Level) logrus.Level {
	if reason == a.reason {
		return logrus.DebugLevel
	}
	a.reason = reason
	return own
}

// succeeded ends a series of failures.
func (a *attempts) succeeded() { a.failures, a.reason = 0, "" }

// pause waits for d and reports whether the wait ended before ctx did.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
