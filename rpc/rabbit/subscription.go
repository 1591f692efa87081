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

const (
	// redeclarePause is the first pause after a failed attempt to consume again on
	// a live connection, and redeclareLimit the longest.
	redeclarePause = 100 * time.Millisecond
	redeclareLimit = 5 * time.Second
)

// subscription consumes queues and keeps doing so: after the loss of the
// connection on the next one, after a basic.cancel at once on the same one. Its
// channel carries no declarations, so that errors of these leave it alone.
type subscription struct {
	link     *link
	queues   []queue
	prefetch int
	options  *Options
	log      logrus.FieldLogger
	// drain handles the deliveries of one consumer until they end.
	drain func(s *subscription, a *acks, deliveries <-chan amqp.Delivery)

	life   context.Context // ends when the subscription is closed
	finish context.CancelFunc
	loop   chan struct{}  // closed when run has ended
	pumps  sync.WaitGroup // one for each consumer

	consuming atomic.Bool // on a live channel

	mu        sync.Mutex
	ch        *amqp.Channel
	cancelled bool
	offset    int64 // of the stream's next message; -1 before the first
}

// start consumes and returns when the broker has agreed, or when ctx ends, or with
// the reason that no retry removes.
func (s *subscription) start(ctx context.Context) error {
	s.life, s.finish = context.WithCancel(s.link.life)
	s.loop = make(chan struct{})
	s.offset = -1
	ready := make(chan error, 1)
	go s.run(ctx, ready)
	select {
	case err := <-ready:
		if err != nil {
			s.finish()
			<-s.loop
		}
		return err
	case <-ctx.Done():
		s.finish()
		<-s.loop
		s.pumps.Wait()
		return fmt.Errorf("waiting for the broker: %w", ctx.Err())
	}
}

// run is the subscription's supervisor. starting bounds the wait for the first
// connection.
func (s *subscription) run(starting context.Context, ready chan<- error) {
	defer close(s.loop)
	started := false
	defer func() {
		if !started {
			select {
			case ready <- rpc.ErrClosed:
			default: // the reason has been told
			}
		}
	}()
	wait := backoff{interval: redeclarePause, step: 2 * redeclarePause, limit: redeclareLimit, jitter: func() float64 { return 0 }}
	var trouble episode
	for s.life.Err() == nil && !s.isCancelled() {
		ctx := s.life
		if !started {
			ctx = starting
		}
		session, err := s.link.get(ctx)
		if err == nil {
			err = s.consume(session, func() {
				wait.reset()
				trouble.over()
				if !started {
					started = true
					ready <- nil
				}
			})
		}
		if s.life.Err() != nil || s.isCancelled() {
			return
		}
		if !started && (permanent(err) || starting.Err() != nil) {
			ready <- err
			return
		}
		if session != nil && session.alive() {
			s.log.WithError(err).Log(trouble.level(err.Error(), logrus.WarnLevel), "consuming again")
		}
		pause(s.life, wait.next())
	}
}

// consume works on one session until its channel ends.
func (s *subscription) consume(session *session, consuming func()) error {
	answered := sync.OnceFunc(session.expectAnswer("beginning to consume", answerTime))
	defer answered()
	ch, err := session.conn.Channel()
	if err != nil {
		return fmt.Errorf("opening a channel to consume: %w", err)
	}
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	if s.prefetch > 0 {
		if err := ch.Qos(s.prefetch, 0, false); err != nil {
			return fmt.Errorf("setting the prefetch count: %w", err)
		}
	}
	for i := range s.queues {
		if err := s.queues[i].declare(s.life, session, s.log); err != nil {
			_ = ch.Close()
			return err
		}
	}
	if !s.adopt(ch) {
		_ = ch.Close()
		return nil
	}
	if err := s.subscribeAll(session, ch); err != nil {
		_ = ch.Close()
		return err
	}
	answered()
	consuming()
	s.consuming.Store(true)
	defer s.consuming.Store(false)
	select {
	case reason := <-closes:
		if reason == nil {
			return errors.New("channel closed")
		}
		return reason
	case <-s.life.Done():
		return nil
	}
}

// subscribeAll starts a pump for each queue of an adopted channel.
func (s *subscription) subscribeAll(session *session, ch *amqp.Channel) error {
	defer s.pumps.Done()
	a := newAcks(ch)
	for i := range s.queues {
		deliveries, err := s.subscribe(ch, i, s.streamOffset())
		if err != nil {
			return err
		}
		s.pumps.Go(func() { s.pump(session, ch, a, i, deliveries) })
	}
	return nil
}

// adopt makes ch the current channel unless the subscription is over. It counts as
// a pump, so that cancel, which comes after it or prevents it, waits for those
// that are about to start.
func (s *subscription) adopt(ch *amqp.Channel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancelled {
		return false
	}
	s.ch = ch
	s.pumps.Add(1)
	return true
}

func (s *subscription) isCancelled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancelled
}

// tag is the consumer tag of the i-th queue: a counter, as in oslo.messaging.
func tag(i int) string { return fmt.Sprint(i + 1) }

func (s *subscription) subscribe(ch *amqp.Channel, i int, offset any) (<-chan amqp.Delivery, error) {
	q := &s.queues[i]
	args := amqp.Table{}
	if s.options.CancelOnFailover {
		args["x-cancel-on-ha-failover"] = true
	}
	if q.stream {
		args = amqp.Table{"x-stream-offset": offset}
	}
	deliveries, err := ch.Consume(q.name, tag(i), false, false, false, false, args)
	if err != nil {
		return nil, fmt.Errorf("consuming queue %s: %w", q.name, err)
	}
	// A cancel that came before the consumer existed has missed it.
	if s.isCancelled() {
		_ = ch.Cancel(tag(i), false)
	}
	return deliveries, nil
}

// pump hands deliveries on and brings its consumer back when the broker cancels
// it, without disturbing the others of the channel.
func (s *subscription) pump(session *session, ch *amqp.Channel, a *acks, i int, deliveries <-chan amqp.Delivery) {
	wait := backoff{interval: redeclarePause, step: 2 * redeclarePause, limit: redeclareLimit, jitter: func() float64 { return 0 }}
	var trouble episode
	for {
		s.drain(s, a, deliveries)
		for {
			if s.isCancelled() || ch.IsClosed() || s.life.Err() != nil {
				return
			}
			q := &s.queues[i]
			answered := session.expectAnswer("consuming again", answerTime)
			err := q.declare(s.life, session, s.log)
			if err == nil {
				// After a cancel the stream may be a new one with offsets of its own.
				deliveries, err = s.subscribe(ch, i, streamStart)
			}
			answered()
			if err == nil {
				s.log.WithField("queue", q.name).Warn("the broker had cancelled a consumer, consuming again")
				wait.reset()
				trouble.over()
				break
			}
			s.log.WithError(err).WithField("queue", q.name).
				Log(trouble.level(err.Error(), logrus.ErrorLevel), "a cancelled consumer could not be brought back")
			if !pause(s.life, wait.next()) {
				return
			}
		}
	}
}

// streamStart makes the broker begin with the last chunk of a stream.
// oslo.messaging: impl_rabbit.py Consumer
const streamStart = "last"

// streamOffset is where to begin reading a stream on a new connection.
func (s *subscription) streamOffset() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offset < 0 {
		return streamStart
	}
	return s.offset
}

// sawOffset notes the position of a stream's message.
func (s *subscription) sawOffset(d *amqp.Delivery) {
	if offset, ok := d.Headers["x-stream-offset"].(int64); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.offset = offset + 1
	}
}

// cancel ends consumption and waits until the last received delivery has been
// handed on. Deliveries can be acknowledged until close.
func (s *subscription) cancel(ctx context.Context) error {
	s.mu.Lock()
	ch := s.ch
	s.cancelled = true
	s.mu.Unlock()
	if ch != nil && !ch.IsClosed() {
		for i := range s.queues {
			// A closed channel has no consumers either.
			_ = ch.Cancel(tag(i), false)
		}
	}
	idle := make(chan struct{})
	go func() {
		s.pumps.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cancelling consumers: %w", ctx.Err())
	}
}

// close cancels, removes the queues of this subscription alone and closes the
// channel, which gives everything unacknowledged back.
func (s *subscription) close(ctx context.Context) error {
	err := s.cancel(ctx)
	s.mu.Lock()
	ch := s.ch
	s.mu.Unlock()
	s.remove(ctx)
	s.finish()
	if ch != nil {
		_ = ch.Close()
	}
	<-s.loop
	return err
}

// remove deletes owned queues. Without a connection the broker removes them
// itself when they expire.
func (s *subscription) remove(ctx context.Context) {
	session := s.link.current()
	if session == nil {
		return
	}
	for i := range s.queues {
		q := &s.queues[i]
		if !q.owned {
			continue
		}
		err := session.control(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(q.name, false, false, false)
			return err
		})
		if err != nil {
			s.log.WithError(err).WithField("queue", q.name).Warn("queue could not be deleted, it will expire")
		}
	}
}

// incoming is the transport-neutral form of a delivery, without what settles it.
func incoming(d *amqp.Delivery) rpc.Incoming {
	compression, _ := d.Headers[compressionHeader].(string)
	return rpc.Incoming{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Compression: compression,
		Expiration: d.Expiration, Headers: textHeaders(d.Headers), Body: d.Body, Redelivered: d.Redelivered,
	}
}
