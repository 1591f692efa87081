// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

const (
	// redeclarePause is the first pause after a failed attempt to consume again on
	// a live connection, and redeclareLimit the longest.
	redeclarePause = 100 * time.Millisecond
	redeclareLimit = 5 * time.Second
)

// errNameTaken says that another process consumes a queue that is for one alone.
var errNameTaken = errors.New("queue name is in use by another process")

// subscription consumes queues and keeps doing so: after the loss of the
// connection on the next one, after a basic.cancel at once on the same one.
//
// One goroutine, run, opens the channel, makes every round trip on it and undoes
// everything in the end, so that a subscription can be ended at any point: whoever
// ends it says so with a context and waits for run.
type subscription struct {
	conn     *managedConn
	queues   []queue
	prefetch prefetch
	options  *Options
	log      logrus.FieldLogger
	// drain handles the deliveries of one consumer until they end.
	drain func(c *consumer, deliveries <-chan amqp.Delivery)

	// Three contexts end one after the other. receiving ends with cancel, life with
	// close or the transport. patient ends closeGrace after life: what is under way
	// on the channel then is finished and undone, not abandoned, unless the broker
	// does not answer.
	receiving, ctx, cleanup  context.Context
	stopReceiving, cancelAll context.CancelFunc

	started chan struct{}  // closed when the broker has agreed for the first time
	idle    chan struct{}  // closed when nothing will be handed on any more
	ended   chan struct{}  // closed when everything is undone
	failure error          // why it has not started; valid when ended is closed
	pumps   sync.WaitGroup // one for each consumer
	// becomeIdle has idle closed once the pumps have ended; run calls it when it will
	// add none any more.
	becomeIdle func()

	// checkRequested has run look whether the broker still knows the consumers.
	checkRequested chan struct{}
	// consuming says that every queue has its consumer.
	consuming atomic.Bool
	position  position
}

// start consumes and returns when the broker has agreed, or with the reason that no
// retry removes. When ctx ends first, everything is undone before it returns.
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

// consumeUntilCancelled consumes on one channel after another until receiving ends. Before
// the first success it returns when no retry can help.
func (s *subscription) consumeUntilCancelled() error {
	wait := redeclareBackoff()
	var trouble outage
	for s.receiving.Err() == nil {
		session, err := s.conn.get(s.receiving)
		if err == nil {
			err = s.consume(session, func() {
				wait.reset()
				trouble.over()
			})
		}
		if s.receiving.Err() != nil || s.ctx.Err() != nil {
			break
		}
		if !s.hasStarted() && (permanent(err) || errors.Is(err, errNameTaken)) {
			return err
		}
		if session != nil && session.alive() {
			s.log.WithError(explainTimeout(err)).Log(trouble.level(err.Error(), logrus.WarnLevel), "consuming again")
		}
		pause(s.receiving, wait.next())
	}
	return rpc.ErrClosed
}

func redeclareBackoff() backoff {
	return backoff{interval: redeclarePause, step: 2 * redeclarePause, limit: redeclareLimit, jitter: func() float64 { return 0 }}
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

// cancel ends consumption and waits until the last received delivery has been
// handed on. Deliveries can be acknowledged until close.
func (s *subscription) cancel(ctx context.Context) error {
	s.stopReceiving()
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cancelling consumers: %w", ctx.Err())
	}
}

// close cancels, closes the channel, which gives everything unacknowledged back, and
// removes the queues of this subscription alone.
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

// requestCheck has the subscription look whether its consumers are still there. A look
// that is under way serves all who ask meanwhile.
func (s *subscription) requestCheck() {
	select {
	case s.checkRequested <- struct{}{}:
	default:
	}
}

// deleteQueues deletes owned queues. Without a connection the broker removes them
// itself when they expire.
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

// position is where a stream is read on after the loss of a channel: at the first
// message that is not settled. Later ones that were settled come again, which servers
// know by their unique ids.
type position struct {
	mu    sync.Mutex
	known bool
	next  int64              // behind the last message
	open  map[int64]struct{} // messages that are not settled
}

// received notes a message that has come.
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

// resume is the argument of the next consumer, which gets what is not settled again.
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

// reset is for a stream that may be another one now.
func (p *position) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = false
	clear(p.open)
}
