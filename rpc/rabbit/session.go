// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"
)

// closeGrace bounds the wait for the broker's answer to connection.close.
const closeGrace = 3 * time.Second

// session is one connection from its handshake to its loss. All state that belongs to
// a connection is kept here, so that nothing of an old connection can be used on a new
// one.
type session struct {
	conn       *connection
	generation uint64
	ctx        context.Context // ends when the connection is gone
	cancel     context.CancelFunc
	closes     chan *amqp.Error
	blocks     chan amqp.Blocking

	mu            sync.Mutex
	unblockedGate chan struct{} // closed while the broker takes publishings
	blockedSince  time.Time     // of the present blockage
	blockedBefore time.Duration // in earlier blockages
	declared      map[string]*declaration
	unanswered    string // the round trip for which the connection was given up

	publishing [quarantine + 1]*publishChannel
	retiredAt  [quarantine + 1]time.Time // when the last one was taken out of use
	windows    map[address]*addressWindow
	refusedAt  map[address]bool // where messages have been refused

	confirms atomic.Uint64 // so far
	resumed  atomic.Uint64 // how often the broker has taken messages again
	limit    atomic.Pointer[sizeLimit]
}

func newSession(c *connection, generation uint64) *session {
	s := &session{
		conn: c, generation: generation,
		// Buffered and always read until closed: the library drops slow listeners.
		closes:        c.NotifyClose(make(chan *amqp.Error, 1)),
		blocks:        c.NotifyBlocked(make(chan amqp.Blocking, 16)),
		unblockedGate: make(chan struct{}),
		declared:      make(map[string]*declaration),
		windows:       make(map[address]*addressWindow),
		refusedAt:     make(map[address]bool),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	close(s.unblockedGate)
	return s
}

func (s *session) alive() bool { return s.ctx.Err() == nil }

// watch waits for the loss of the connection and returns the reason. When ctx ends
// first, it returns nil and leaves the connection open for an orderly close.
func (s *session) watch(life context.Context, log logrus.FieldLogger) error {
	for {
		select {
		case <-life.Done():
			return nil
		case b, ok := <-s.blocks:
			if ok {
				s.block(b, log)
				continue
			}
			s.blocks = nil
		case reason := <-s.closes:
			s.cancel()
			s.openGate()
			if what := s.unansweredRequest(); what != "" {
				return fmt.Errorf("the broker did not answer while %s", what)
			}
			if reason == nil {
				return errors.New("connection closed")
			}
			return reason
		}
	}
}

// block records that the broker has stopped or resumed taking messages.
func (s *session) block(b amqp.Blocking, log logrus.FieldLogger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Active {
		log.WithField("reason", b.Reason).Warn("the broker takes no messages for now, publishing waits")
		if s.blockedSince.IsZero() {
			s.unblockedGate, s.blockedSince = make(chan struct{}), time.Now()
			// A broker that is blocked stops reading, so unacknowledged data does not mean
			// that it is gone.
			s.conn.setUserTimeout(0)
		}
		return
	}
	s.blockedBefore += s.blockage()
	s.blockedSince = time.Time{}
	s.resumed.Add(1)
	s.conn.setUserTimeout(answerTime)
	log.Info("the broker takes messages again")
	closeOnce(s.unblockedGate)
}

// closeOnce closes a channel unless it is closed already. The caller must be the only
// one to close it.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

func (s *session) isBlocked() bool {
	select {
	case <-s.ready():
		return false
	default:
		return true
	}
}

func (s *session) ready() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unblockedGate
}

// waitUntilUnblocked waits until publishing makes sense.
func (s *session) waitUntilUnblocked(ctx context.Context) error {
	gate := s.ready()
	select {
	case <-gate:
		return nil
	default:
	}
	select {
	case <-gate:
		return nil
	case <-s.ctx.Done():
		return amqp.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("the broker takes no messages: %w", ctx.Err())
	}
}

// openGate releases all callers that wait for a lost connection to be unblocked.
func (s *session) openGate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	closeOnce(s.unblockedGate)
	s.blockedBefore += s.blockage()
	s.blockedSince = time.Time{}
}

// blockage returns how long the present blockage has lasted. The caller holds mu.
func (s *session) blockage() time.Duration {
	if s.blockedSince.IsZero() {
		return 0
	}
	return time.Since(s.blockedSince)
}

// blockedTime returns for how long in all the broker has blocked this connection.
func (s *session) blockedTime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blockedBefore + s.blockage()
}

// control runs declarations on a channel of their own: an error of the broker
// closes that channel and nothing else.
func (s *session) control(ctx context.Context, do func(*amqp.Channel) error) error {
	return s.roundTrip(ctx, "declaring", func() error {
		ch, err := s.conn.Channel()
		if err != nil {
			return fmt.Errorf("opening a channel: %w", err)
		}
		// Declarations outlive the channel, however it ends.
		defer func() { _ = ch.Close() }()
		return do(ch)
	})
}

// declarable is an exchange or a queue with its bindings.
type declarable interface {
	// declarationKey identifies the declaration within a session.
	declarationKey() string
	declare(context.Context, *session, logrus.FieldLogger) error
}

// declaration is a declaration on a connection that several callers may wait for.
type declaration struct {
	done chan struct{}
	err  error // valid when done is closed
}

// ensure declares d once per connection. A declaration that has begun goes on when ctx
// ends, because other callers may need it.
func (s *session) ensure(ctx context.Context, d declarable, log logrus.FieldLogger) error {
	mark := d.declarationKey()
	s.mu.Lock()
	one := s.declared[mark]
	if one == nil {
		one = &declaration{done: make(chan struct{})}
		s.declared[mark] = one
		go func() {
			defer close(one.done)
			if one.err = d.declare(s.ctx, s, log); one.err != nil {
				s.undeclare(mark)
			}
		}()
	}
	s.mu.Unlock()
	select {
	case <-one.done:
		return one.err
	default:
	}
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return fmt.Errorf("declaring: %w", ctx.Err())
	}
}

// undeclare has something declared again that turned out to be missing.
func (s *session) undeclare(mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.declared, mark)
}

// answerTime bounds one round trip to the broker. A node that has lost the rest of its
// cluster can hang in a declaration for ever while it still sends heartbeats, so that
// nothing else would show the failure.
const answerTime = 30 * time.Second

// roundTrip runs do, which talks to the broker, and waits until it returns or until
// ctx or the session ends. The library's calls take no context, so do runs in a
// goroutine of its own. It may outlive the caller by answerTime at most: then the
// connection is given up, which ends every call on it. When do fails, it must release
// what it has made.
func (s *session) roundTrip(ctx context.Context, what string, do func() error) error {
	_, err := await(ctx, s, what, func() (struct{}, error) { return struct{}{}, do() }, nil)
	return err
}

// openChannel opens a channel and sets it up with prepare; what describes the request
// for errors. A channel that is ready too late for its caller is closed.
func (s *session) openChannel(ctx context.Context, what string, prepare func(*amqp.Channel) error) (*amqp.Channel, error) {
	return await(ctx, s, what, func() (*amqp.Channel, error) {
		ch, err := s.conn.Channel()
		if err != nil {
			return nil, fmt.Errorf("opening a channel: %w", err)
		}
		if err := prepare(ch); err != nil {
			_ = ch.Close()
			return nil, err
		}
		return ch, nil
	}, func(ch *amqp.Channel) { _ = ch.Close() })
}

// await is roundTrip for a do that returns a value. When the caller has stopped
// waiting, discard gets the value.
func await[T any](ctx context.Context, s *session, what string, do func() (T, error), discard func(T)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer)
	left := make(chan struct{})
	go func() {
		defer s.expectAnswer(what, answerTime)()
		value, err := do()
		select {
		case answers <- answer{value, err}:
		case <-left:
			if err == nil && discard != nil {
				discard(value)
			}
		}
	}()
	defer close(left)
	var none T
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", what, ctx.Err())
	case <-s.ctx.Done():
		return none, fmt.Errorf("%s: %w", what, amqp.ErrClosed)
	}
}

// expectAnswer gives the connection up, so that another host is tried, unless the
// returned function is called in time. Time in which the broker blocks the connection
// does not count, because it answers nothing then.
func (s *session) expectAnswer(what string, within time.Duration) (answered func()) {
	done := make(chan struct{})
	go func() {
		timer := time.NewTimer(within)
		defer timer.Stop()
		for resumed := s.resumed.Load(); ; {
			select {
			case <-done:
				return
			case <-s.ctx.Done():
				return
			case <-timer.C:
			}
			now := s.resumed.Load()
			if !s.isBlocked() && now == resumed {
				s.giveUp(what)
				return
			}
			resumed = now
			timer.Reset(within)
		}
	}()
	return func() { close(done) }
}

// giveUp ends a connection on which the broker has not answered the request what.
func (s *session) giveUp(what string) {
	s.mu.Lock()
	s.unanswered = what
	s.mu.Unlock()
	ended, end := context.WithCancel(context.Background())
	end()
	s.conn.close(ended)
}

func (s *session) unansweredRequest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unanswered
}

// close ends the session in good order, or gives up when ctx ends.
func (s *session) close(ctx context.Context) {
	s.conn.close(ctx)
	s.cancel()
	s.openGate()
}
