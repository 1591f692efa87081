// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// managedConn keeps one connection to the broker alive. It dials when it is first asked
// for a session and from then on until its context ends. One goroutine owns the
// state; users get sessions and ask again when theirs is lost.
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
	session     *session
	changed     chan struct{} // closed at the next change of the state
	fatal       error         // why no first connection can be made
	connections uint64        // connections so far
	blocked     time.Duration // in earlier connections
	failures    int           // attempts in vain since the last connection
	lastErr     error         // of the last such attempt
	done        chan struct{} // closed when the goroutine has ended
}

func newManagedConn(life context.Context, purpose string, d *dialer, o *Options, welcomed *atomic.Bool, log logrus.FieldLogger) *managedConn {
	return &managedConn{
		ctx: life, purpose: purpose, dialer: d, options: o, log: log.WithField("connection", purpose),
		accepted: welcomed, changed: make(chan struct{}),
	}
}

// get waits for a live session until ctx or the transport ends.
func (l *managedConn) get(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		s, fatal, changed := l.session, l.fatal, l.changed
		switch {
		case l.ctx.Err() != nil:
			l.mu.Unlock()
			return nil, context.Cause(l.ctx)
		case fatal != nil:
			// The next caller may try again with better luck.
			l.fatal = nil
			l.mu.Unlock()
			return nil, fatal
		case s == nil && !l.running:
			l.running, l.done = true, make(chan struct{})
			go l.run(l.done)
		}
		l.mu.Unlock()
		if s != nil && s.alive() {
			return s, nil
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return nil, context.Cause(l.ctx)
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the %s connection: %w", l.purpose, ctx.Err())
		}
	}
}

func (l *managedConn) set(s *session, fatal error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		l.blocked += l.session.blockedTime()
	}
	l.session = s
	l.fatal = fatal
	l.running = fatal == nil
	if s != nil {
		l.connections = s.generation
		l.failures, l.lastErr = 0, nil
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// run connects, waits for the loss of the connection and connects again. A refused
// login ends it as long as the transport has never been accepted. Later a refusal is
// retried: the broker may still be coming up, or its password may be changing.
func (l *managedConn) run(done chan struct{}) {
	defer close(done)
	life := l.ctx
	wait := l.options.backoff()
	generation := uint64(0)
	var trouble outage
	for life.Err() == nil {
		c, err := l.dialer.dialAny(life)
		if err != nil {
			if life.Err() != nil {
				return
			}
			if refused(err) && !l.accepted.Load() {
				l.set(nil, explainLogin(err))
				return
			}
			l.failed(err)
			d := wait.next()
			what := "broker is not reachable"
			if refused(err) || full(err) {
				what = "broker refuses the connection"
			}
			l.log.WithError(err).WithField("retry_in", d.String()).Log(trouble.level(what, logrus.ErrorLevel), what)
			pause(life, d)
			continue
		}
		wait.reset()
		trouble.over()
		l.accepted.Store(true)
		generation++
		s := newSession(c, generation)
		l.log.WithFields(logrus.Fields{"broker": c.RemoteAddr().String(), "generation": s.generation}).Info("connected to the broker")
		l.set(s, nil)
		err = s.watch(life, l.log)
		if life.Err() != nil {
			return
		}
		l.set(nil, nil)
		d := l.options.reconnectDelay()
		l.log.WithError(err).WithField("retry_in", d.String()).Warn("connection to the broker is lost")
		pause(life, d)
	}
}

// close waits for the goroutine, whose context must have ended, and closes the
// connection.
func (l *managedConn) close(ctx context.Context) {
	l.mu.Lock()
	s, done := l.session, l.done
	l.mu.Unlock()
	if done != nil {
		<-done
	}
	if s != nil {
		s.close(ctx)
	}
}

// stats is for the transport's Stats.
func (l *managedConn) stats() LinkStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := LinkStats{Connections: l.connections, BlockedTime: l.blocked}
	if l.session != nil {
		st.BlockedTime += l.session.blockedTime()
	}
	if l.session != nil && l.session.alive() {
		st.Connected = true
		st.Blocked = l.session.isBlocked()
	}
	return st
}

// current is the live session or nil.
func (l *managedConn) current() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil || !l.session.alive() {
		return nil
	}
	return l.session
}

// failed notes an attempt to connect in vain and wakes those who count them.
func (l *managedConn) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures++
	l.lastErr = err
	close(l.changed)
	l.changed = make(chan struct{})
}

// getWithin is get for those who give up after a first and retry more attempts to
// connect in vain. Whoever comes during an outage counts from its beginning.
// oslo.messaging: impl_rabbit.py ensure(retry=...)
func (l *managedConn) getWithin(ctx context.Context, retry int) (*session, error) {
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
			rounds, trouble, changed := l.failures, l.lastErr, l.changed
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

// outage is a series of failed attempts. Its first failure and each change of the
// reason are logged at the normal level. Further failures are logged for debugging
// only, because attempts go on every few seconds for as long as the outage lasts.
type outage struct {
	reason string
}

// level returns the level at which an attempt that failed for the reason is logged.
func (e *outage) level(reason string, first logrus.Level) logrus.Level {
	if reason == e.reason {
		return logrus.DebugLevel
	}
	e.reason = reason
	return first
}

// over ends the outage after an attempt that succeeded.
func (e *outage) over() { e.reason = "" }

// backoff is the growing pause between attempts: interval, interval+step, ... up
// to the limit, each shortened by up to a quarter at random so that the members of
// a cluster do not come back all at once. oslo.messaging: impl_rabbit.py with
// kombu's retry_over_time
type backoff struct {
	interval, step, limit time.Duration
	attempt               int
	jitter                func() float64 // in [0,1)
}

func (o *Options) backoff() *backoff {
	first := time.Duration(o.RetryInterval) * time.Second
	return &backoff{
		interval: first,
		step:     time.Duration(o.RetryBackoff) * time.Second,
		limit:    first + time.Duration(o.IntervalMax)*time.Second,
		jitter:   rand.Float64,
	}
}

func (b *backoff) reset() { b.attempt = 0 }

func (b *backoff) next() time.Duration {
	d := min(b.interval+time.Duration(b.attempt)*b.step, b.limit)
	b.attempt++
	return d - time.Duration(b.jitter()*float64(d)/4)
}

// reconnectDelay is the pause after the loss of a connection.
func (o *Options) reconnectDelay() time.Duration {
	seconds := o.ReconnectDelay*(1-rand.Float64()/4) + o.ReconnectSplay*rand.Float64()
	return time.Duration(seconds * float64(time.Second))
}

// pause waits for d and reports whether it did so before ctx ended.
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
