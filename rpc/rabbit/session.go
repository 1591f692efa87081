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

	"github.com/karbor-project/karbor/rpc"
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

var _ rpc.Transport = (*Transport)(nil)
