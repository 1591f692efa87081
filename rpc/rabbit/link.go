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

// link keeps one connection to the broker alive. It dials when it is first asked
// for a session and from then on until its context ends. One goroutine owns the
// state; users get sessions and ask again when theirs is lost.
type link struct {
	life    context.Context // the transport's; the link ends with it
	purpose string
	dialer  *dialer
	options *Options
	log     logrus.FieldLogger
	// welcomed says that the broker has once let the transport in, by this link or
	// another. It is shared by the links.
	welcomed *atomic.Bool

	mu      sync.Mutex
	running bool
	session *session
	changed chan struct{} // closed at the next change of session or fatal
	fatal   error         // why the first connection cannot be had
	count   uint64        // connections so far
	blocked time.Duration // in earlier connections
	rounds  int           // attempts in vain since the last connection
	trouble error         // of the last such attempt
	done    chan struct{} // closed when the goroutine has ended
}

func newLink(life context.Context, purpose string, d *dialer, o *Options, welcomed *atomic.Bool, log logrus.FieldLogger) *link {
	return &link{
		life: life, purpose: purpose, dialer: d, options: o, log: log.WithField("connection", purpose),
		welcomed: welcomed, changed: make(chan struct{}),
	}
}

// get waits for a live session, until ctx or the link ends.
func (l *link) get(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		s, fatal, changed := l.session, l.fatal, l.changed
		switch {
		case l.life.Err() != nil:
			l.mu.Unlock()
			return nil, context.Cause(l.life)
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
		case <-l.life.Done():
			return nil, context.Cause(l.life)
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the %s connection: %w", l.purpose, ctx.Err())
		}
	}
}

func (l *link) set(s *session, fatal error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		l.blocked += l.session.blockedTime()
	}
	l.session = s
	l.fatal = fatal
	l.running = fatal == nil
	if s != nil {
		l.count = s.generation
		l.rounds, l.trouble = 0, nil
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// run connects, waits for the loss and connects again. A refused login ends it
// when the transport has never been let in; later it may be a broker that is still
// coming up, or a password that is being changed, and is retried.
func (l *link) run(done chan struct{}) {
	defer close(done)
	life := l.life
	wait := l.options.backoff()
	generation := uint64(0)
	var trouble episode
	for life.Err() == nil {
		c, err := l.dialer.dialAny(life)
		if err != nil {
			if life.Err() != nil {
				return
			}
			if refused(err) && !l.welcomed.Load() {
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
		l.welcomed.Store(true)
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

// close waits for the goroutine, whose life must be over, and closes the
// connection.
func (l *link) close(ctx context.Context) {
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

// state is for the transport's Stats.
func (l *link) state() LinkStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := LinkStats{Connections: l.count, BlockedTime: l.blocked}
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
func (l *link) current() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil || !l.session.alive() {
		return nil
	}
	return l.session
}
