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

// session is one connection from its handshake to its loss. Everything that hangs
// on a connection hangs on its session, so that nothing of an old connection can
// be used on a new one.
type session struct {
	conn       *connection
	generation uint64
	life       context.Context // ends when the connection is gone
	end        context.CancelFunc
	closes     chan *amqp.Error
	blocks     chan amqp.Blocking

	mu       sync.Mutex
	free     chan struct{} // closed while the broker takes publishings
	since    time.Time     // of the present blockage
	waited   time.Duration // in earlier blockages
	declared map[string]*declaration
	hung     string // the round trip for which the connection was given up

	publishing [quarantine + 1]*publishChannel
	retiredAt  [quarantine + 1]time.Time // when the last one was taken out of use
	ways       map[address]*way
	suspects   map[address]bool // where messages have been refused

	confirms atomic.Uint64 // so far
	resumed  atomic.Uint64 // how often the broker has taken messages again
	limit    atomic.Pointer[sizeLimit]
}

func newSession(c *connection, generation uint64) *session {
	s := &session{
		conn: c, generation: generation,
		// Buffered and always read until closed: the library drops slow listeners.
		closes:   c.NotifyClose(make(chan *amqp.Error, 1)),
		blocks:   c.NotifyBlocked(make(chan amqp.Blocking, 16)),
		free:     make(chan struct{}),
		declared: make(map[string]*declaration),
		ways:     make(map[address]*way),
		suspects: make(map[address]bool),
	}
	s.life, s.end = context.WithCancel(context.Background())
	close(s.free)
	return s
}

func (s *session) alive() bool { return s.life.Err() == nil }

// watch follows the connection until its loss, whose reason it returns, or until
// life ends, when the connection is left open for an orderly close.
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
			s.end()
			s.abandon()
			if what := s.hungIn(); what != "" {
				return fmt.Errorf("the broker did not answer while %s", what)
			}
			if reason == nil {
				return errors.New("connection closed")
			}
			return reason
		}
	}
}

// block notes that the broker has stopped or resumed taking publishings.
func (s *session) block(b amqp.Blocking, log logrus.FieldLogger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Active {
		log.WithField("reason", b.Reason).Warn("the broker takes no messages for now, publishing waits")
		if s.since.IsZero() {
			s.free, s.since = make(chan struct{}), time.Now()
			// It reads nothing more, which says nothing about its health.
			s.conn.tolerate(0)
		}
		return
	}
	s.waited += s.blockage()
	s.since = time.Time{}
	s.resumed.Add(1)
	s.conn.tolerate(answerTime)
	log.Info("the broker takes messages again")
	closeOnce(s.free)
}

// closeOnce closes a gate that one goroutine alone closes.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

func (s *session) isBlocked() bool {
	select {
	case <-s.gate():
		return false
	default:
		return true
	}
}

func (s *session) gate() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free
}

// unblocked waits until publishing makes sense.
func (s *session) unblocked(ctx context.Context) error {
	gate := s.gate()
	select {
	case <-gate:
		return nil
	default:
	}
	select {
	case <-gate:
		return nil
	case <-s.life.Done():
		return amqp.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("the broker takes no messages: %w", ctx.Err())
	}
}

// abandon opens the gate so that nobody waits at a dead connection.
func (s *session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	closeOnce(s.free)
	s.waited += s.blockage()
	s.since = time.Time{}
}

// blockage is how long the present blockage has lasted. It wants the lock.
func (s *session) blockage() time.Duration {
	if s.since.IsZero() {
		return 0
	}
	return time.Since(s.since)
}

// blockedTime is how long the broker has taken nothing on this connection.
func (s *session) blockedTime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waited + s.blockage()
}

// control runs declarations on a channel of their own: an error of the broker
// closes that channel and nothing else.
func (s *session) control(ctx context.Context, do func(*amqp.Channel) error) error {
	return s.roundTrip(ctx, "declaring", func() error {
		ch, err := s.conn.Channel()
		if err != nil {
			return fmt.Errorf("opening a channel: %w", err)
		}
		// What was declared stays declared, however the channel ends.
		defer func() { _ = ch.Close() }()
		return do(ch)
	})
}

// declarable is an exchange or a queue with its bindings.
type declarable interface {
	// mark names it among all that a session has declared.
	mark() string
	declare(context.Context, *session, logrus.FieldLogger) error
}

// declaration is the one declaration of something on a connection, which many
// may wait for.
type declaration struct {
	done chan struct{}
	err  error // valid when done is closed
}

// ensure declares something once per connection. The declaration goes on when ctx
// ends before it, for the others who need it.
func (s *session) ensure(ctx context.Context, d declarable, log logrus.FieldLogger) error {
	mark := d.mark()
	s.mu.Lock()
	one := s.declared[mark]
	if one == nil {
		one = &declaration{done: make(chan struct{})}
		s.declared[mark] = one
		go func() {
			defer close(one.done)
			if one.err = d.declare(s.life, s, log); one.err != nil {
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

// undeclare is for something that turned out to be missing.
func (s *session) undeclare(mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.declared, mark)
}

// answerTime bounds one round trip to the broker. A node that has lost the others
// of its cluster can hang in a declaration for as long as it lives, while it goes
// on to send heartbeats: nothing else would tell.
const answerTime = 30 * time.Second

// roundTrip has do talk to the broker and waits until it has, or until ctx or the
// session ends. The library's calls know no context, so do runs in a goroutine of
// its own, which may outlive the caller: by no more than answerTime, after which the
// connection is given up and every call on it ends. do must release what it has made
// when it fails.
func (s *session) roundTrip(ctx context.Context, what string, do func() error) error {
	_, err := await(ctx, s, what, func() (struct{}, error) { return struct{}{}, do() }, nil)
	return err
}

// openChannel opens a channel and has prepare set it up; what says what for. A
// channel that is ready too late for its caller is closed.
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

// await is roundTrip for a do with a result, which discard gets when nobody waits
// for it any more.
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
	case <-s.life.Done():
		return none, fmt.Errorf("%s: %w", what, amqp.ErrClosed)
	}
}

// expectAnswer gives the connection up when the returned function was not called
// in time, so that another host is tried. Time in which the broker takes no
// messages does not count: it then answers nothing on purpose.
func (s *session) expectAnswer(what string, within time.Duration) (answered func()) {
	done := make(chan struct{})
	go func() {
		timer := time.NewTimer(within)
		defer timer.Stop()
		for resumed := s.resumed.Load(); ; {
			select {
			case <-done:
				return
			case <-s.life.Done():
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

// giveUp ends a connection on which the broker has not answered.
func (s *session) giveUp(what string) {
	s.mu.Lock()
	s.hung = what
	s.mu.Unlock()
	ended, end := context.WithCancel(context.Background())
	end()
	s.conn.close(ended)
}

func (s *session) hungIn() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hung
}

// close ends the session in good order, within ctx.
func (s *session) close(ctx context.Context) {
	s.conn.close(ctx)
	s.end()
	s.abandon()
}
