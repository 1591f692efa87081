// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

const (
	// redeclarePause is the first pause after a failed attempt to consume on a live
	// connection, and redeclareLimit the longest.
	redeclarePause = 100 * time.Millisecond
	redeclareLimit = 5 * time.Second
)

// errNameTaken means that another process consumes a queue that must have one consumer.
var errNameTaken = errors.New("queue name is in use by another process")

// subscription consumes queues until it is cancelled: after the loss of the connection
// on the next one, after a basic.cancel at once on the same one.
//
// One goroutine, run, opens the channel, makes every round trip on it and undoes
// everything in the end. A subscription can therefore be ended at any point, by
// cancelling a context and waiting for run.
type subscription struct {
	conn     *managedConn
	queues   []queue
	prefetch prefetch
	options  *Options
	log      logrus.FieldLogger
	// drain handles the deliveries of one consumer until they end.
	drain func(c *consumer, deliveries <-chan amqp.Delivery)

	// Three contexts end one after the other: receiving with cancel, ctx with close or
	// the transport, and cleanup closeGrace after ctx, so that calls under way on the
	// channel finish, and declarations are undone, unless the broker does not answer.
	receiving, ctx, cleanup  context.Context
	stopReceiving, cancelAll context.CancelFunc

	started chan struct{}  // closed when the broker has agreed for the first time
	idle    chan struct{}  // closed when no more deliveries will be handed on
	ended   chan struct{}  // closed when everything is undone
	failure error          // why it has not started; valid when ended is closed
	pumps   sync.WaitGroup // one for each consumer
	// becomeIdle has idle closed once the pumps have ended. It is called when no more
	// pumps will be started.
	becomeIdle func()

	checkRequested chan struct{} // for run to ask whether the broker still has the consumers
	consuming      atomic.Bool   // every queue has its consumer
	position       position
}

func newSubscription(t *Transport, p prefetch, queues []queue, drain func(*consumer, <-chan amqp.Delivery)) *subscription {
	s := &subscription{
		conn: t.consumeConn, queues: queues, prefetch: p, options: &t.options, log: t.log, drain: drain,
		started: make(chan struct{}), idle: make(chan struct{}), ended: make(chan struct{}),
		checkRequested: make(chan struct{}, 1),
	}
	s.ctx, s.cancelAll = context.WithCancel(t.ctx)
	s.receiving, s.stopReceiving = context.WithCancel(s.ctx)
	s.becomeIdle = sync.OnceFunc(func() {
		go func() {
			s.pumps.Wait()
			close(s.idle)
		}()
	})
	return s
}

// start begins to consume and returns when the broker has agreed. A refusal that no
// retry can change is an error at once. When ctx ends first, everything is undone
// before start returns.
func (s *subscription) start(ctx context.Context) error {
	go s.run()
	select {
	case <-s.started:
		return nil
	case <-s.ended:
		return s.failure
	case <-ctx.Done():
	}
	s.cancelAll()
	<-s.ended
	return fmt.Errorf("waiting for the broker: %w", ctx.Err())
}

func (s *subscription) hasStarted() bool {
	select {
	case <-s.started:
		return true
	default:
		return false
	}
}

// run is the subscription's supervisor.
func (s *subscription) run() {
	defer close(s.ended)
	patient, release := context.WithCancel(context.Background())
	defer release()
	defer context.AfterFunc(s.ctx, func() { time.AfterFunc(closeGrace, release) })()
	s.cleanup = patient
	s.failure = s.consumeUntilCancelled()
	if !s.hasStarted() {
		s.cancelAll()
	}
	s.becomeIdle()
	<-s.ctx.Done()
	s.deleteQueues()
	<-s.idle
}

// consumeUntilCancelled consumes on one channel after another until receiving ends. As
// long as it has never succeeded, it returns when no retry can help.
func (s *subscription) consumeUntilCancelled() error {
	tries := redeclareAttempts()
	for {
		session, err := s.conn.get(s.receiving, nil)
		if err == nil {
			err = s.consume(session, tries.succeeded)
		}
		if s.receiving.Err() != nil {
			return rpc.ErrClosed
		}
		if !s.hasStarted() && (permanent(err) || errors.Is(err, errNameTaken)) {
			return err
		}
		if session != nil && session.alive() {
			s.log.WithError(explainTimeout(err)).Log(tries.level(err.Error(), logrus.WarnLevel), "consuming again")
		}
		pause(s.receiving, tries.delay())
	}
}

func redeclareAttempts() *attempts {
	return &attempts{first: redeclarePause, step: 2 * redeclarePause, limit: redeclareLimit, jitter: rand.Float64}
}

// explainTimeout adds what to look at when the broker has closed the channel because
// a delivery was not acknowledged in time.
func explainTimeout(err error) error {
	if ofCode(err, amqp.PreconditionFailed) && strings.Contains(err.Error(), "delivery acknowledgement") {
		return fmt.Errorf("%w (requests have waited for a worker, or for their acceptance, longer than the broker's "+
			"consumer_timeout; it gives them to others now)", err)
	}
	return err
}

// cancel ends consumption and waits until the last delivery has been handed on.
// Deliveries can be acknowledged until close.
func (s *subscription) cancel(ctx context.Context) error {
	s.stopReceiving()
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cancelling consumers: %w", ctx.Err())
	}
}

// close cancels, closes the channel, which returns all unacknowledged messages to the
// broker, and deletes the queues that belong to this subscription alone.
func (s *subscription) close(ctx context.Context) error {
	err := s.cancel(ctx)
	s.cancelAll()
	select {
	case <-s.ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("closing consumers: %w", ctx.Err())
	}
}

// requestCheck has run check whether the broker still has the consumers. Requests
// during a check share the next one.
func (s *subscription) requestCheck() {
	select {
	case s.checkRequested <- struct{}{}:
	default:
	}
}

// deleteQueues deletes the queues that belong to this subscription alone. Without a
// connection they are left to expire.
func (s *subscription) deleteQueues() {
	session := s.conn.current()
	if session == nil {
		return
	}
	for i := range s.queues {
		q := &s.queues[i]
		if !q.deleteAtClose || !q.declared {
			continue
		}
		err := session.control(s.cleanup, func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(q.name, false, false, false)
			return err
		})
		if err != nil {
			s.log.WithError(err).WithField("queue", q.name).Warn("queue could not be deleted, it will expire")
		}
	}
}

// streamStart makes the broker begin with the last chunk of a stream.
// oslo.messaging: impl_rabbit.py Consumer
const streamStart = "last"

// position is where reading of a stream continues after the loss of a channel: at the
// first message that is not settled. Later messages that are settled come again, and
// servers recognise them by their unique ids.
type position struct {
	mu    sync.Mutex
	known bool
	next  int64              // behind the last message
	open  map[int64]struct{} // messages that are not settled
}

// received records a message.
func (p *position) received(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = make(map[int64]struct{})
	}
	p.known, p.next = true, offset+1
	p.open[offset] = struct{}{}
}

func (p *position) settled(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, offset)
}

// resume returns the offset for the next consumer, which gets all unsettled messages
// again.
func (p *position) resume() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return streamStart
	}
	for offset := range p.open {
		p.next = min(p.next, offset)
	}
	clear(p.open)
	return p.next
}

// reset forgets the position, for a stream that may have been made anew.
func (p *position) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = false
	clear(p.open)
}
