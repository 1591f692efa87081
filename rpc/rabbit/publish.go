// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

const (
	// replyPatience is the least time that a reply waits for a broker that is away.
	replyPatience = 10 * time.Second
	// republishPause keeps a failing message from spinning.
	republishPause = 100 * time.Millisecond
	// maxMisses is how often the exchange of a message may turn out to be missing.
	maxMisses = 2
)

// message is one publishing with its address.
type message struct {
	exchange  *exchange // nil is the default exchange
	key       string
	mandatory bool
	// queue is made sure of together with the exchange; nil for most messages.
	queue *queue
	// retry bounds the further attempts; nil means as long as the context lasts.
	retry *int
	// alone says that the message is offered where no other one is under way.
	alone bool
	amqp.Publishing
}

func (m *message) address() address {
	if m.exchange == nil {
		return address{key: m.key}
	}
	return address{m.exchange.name, m.key}
}

// Send implements rpc.Transport.
func (t *Transport) Send(ctx context.Context, target rpc.Target, p rpc.Publishing) error {
	m := message{mandatory: p.Mandatory}
	switch {
	case target.Fanout:
		m.exchange = t.options.fanoutExchange(target.Topic)
	case target.Server != "":
		m.exchange, m.key = t.options.topicExchange(target.ExchangeName()), target.Topic+"."+target.Server
	default:
		m.exchange, m.key = t.options.topicExchange(target.ExchangeName()), target.Topic
	}
	if err := t.fill(&m, p.Body); err != nil {
		return err
	}
	if p.Expiration > 0 {
		m.Expiration = fmt.Sprint(p.Expiration.Milliseconds())
	}
	m.addHeaders(p.Headers)
	m.setRetry(p.Retry)
	return t.publish(ctx, &m)
}

// Reply implements rpc.Transport.
func (t *Transport) Reply(ctx context.Context, queue string, body func() []byte) error {
	patience := time.Duration(t.options.MissingConsumerTimeout) * time.Second
	ctx, done := t.patience.of(ctx, max(patience, replyPatience))
	defer done()
	err := t.late.Send(ctx, queue, body, func(body []byte) error {
		m := message{key: queue, mandatory: t.options.DirectMandatory}
		if err := t.fill(&m, body); err != nil {
			return err
		}
		return t.publish(ctx, &m)
	})
	if errors.Is(err, rpc.ErrUndeliverable) {
		t.undeliverable.Add(1)
	}
	return err
}

// fill sets the properties that every message has.
func (t *Transport) fill(m *message, body []byte) error {
	m.ContentType = rpc.ContentType
	m.ContentEncoding = rpc.ContentEncoding
	m.DeliveryMode = amqp.Persistent
	m.Body = body
	if t.options.Compression == "" {
		return nil
	}
	small, err := rpc.Compress(body)
	if err != nil {
		return err
	}
	m.Body, m.Headers = small, amqp.Table{compressionHeader: rpc.CompressionGzip}
	return nil
}

// compressionHeader names how a body is compressed. kombu: messaging.py
const compressionHeader = "compression"

// publish hands the message to the broker and waits for its confirm. A message
// whose connection or channel was lost before that, or which the broker could not
// keep, is sent again; its unique id lets the receiver drop the second one.
//
// A message that the broker refuses costs the channel, and so all others that are
// under way on it. Each of them is then offered again alone, where a refusal can
// only be meant for it.
func (t *Transport) publish(ctx context.Context, m *message) error {
	misses, nacks := 0, 0
	for {
		s, err := t.session(ctx, m)
		if err != nil {
			return fmt.Errorf("%w: %w", rpc.ErrDelivery, err)
		}
		if err := s.fits(m); err != nil {
			return err
		}
		alone := true
		if err = t.declare(ctx, s, m); err == nil {
			alone, err = t.attempt(ctx, s, m)
		}
		s.learn(err)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, rpc.ErrUndeliverable):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w: %w", rpc.ErrDelivery, ctx.Err(), err)
		case t.life.Err() != nil:
			return context.Cause(t.life)
		case errors.Is(err, errNack):
			nacks++
		case !alone && refuses(err):
			m.alone = true
			continue
		case permanent(err):
			return fmt.Errorf("%w: %w: %w", rpc.ErrDelivery, rpc.ErrRefused, err)
		case ofCode(err, amqp.NotFound):
			misses++
			s.undeclare(m.address().exchange)
			if m.queue != nil {
				s.undeclare(m.queue.mark())
			}
		}
		if misses >= maxMisses || nacks >= maxNacks || m.exhausted() {
			return fmt.Errorf("%w: %w", rpc.ErrDelivery, err)
		}
		t.log.WithError(err).WithField("routing_key", m.key).Debug("publishing again")
		if !pause(ctx, t.republishPause*time.Duration(max(1, 2*nacks-1))) {
			return fmt.Errorf("%w: %w: %w", rpc.ErrDelivery, ctx.Err(), err)
		}
	}
}

// declare makes sure of what the message is published to.
func (t *Transport) declare(ctx context.Context, s *session, m *message) error {
	if err := s.unblocked(ctx); err != nil {
		return err
	}
	switch {
	case m.queue != nil:
		return s.ensure(ctx, m.queue, t.log)
	case m.exchange != nil:
		return s.ensure(ctx, m.exchange, t.log)
	}
	return nil
}

// attempt publishes once, and tells whether the message was alone on its channel.
func (t *Transport) attempt(ctx context.Context, s *session, m *message) (alone bool, err error) {
	a := m.address()
	suspect, err := s.enter(ctx, a)
	if err != nil {
		return false, err
	}
	number := sharedChannel(a)
	if alone = m.alone || suspect; alone {
		number = quarantine
	}
	c, err := s.publishChannel(ctx, number)
	if err != nil {
		s.leave(a, false)
		return alone, err
	}
	release := func(confirmed bool) {
		c.release()
		s.leave(a, confirmed)
	}
	if err := s.conn.room(ctx); err != nil {
		release(false)
		return alone, err
	}
	confirm, err := c.ch.PublishWithDeferredConfirm(a.exchange, m.key, m.mandatory, false, m.Publishing)
	if err != nil {
		release(false)
		if c.ch.IsClosed() {
			err = c.closed()
		}
		return alone, err
	}
	if err := c.confirmed(ctx, confirm, t.log); err != nil {
		// The place in the windows belongs to the message until its confirm.
		go func() {
			err := c.confirmed(context.Background(), confirm, t.log)
			if err == nil {
				err = t.settle(c, confirm, m)
			}
			release(err == nil)
		}()
		return alone, err
	}
	err = t.settle(c, confirm, m)
	release(err == nil)
	if alone && (err == nil || permanent(err)) {
		s.suspect(a, err != nil)
	}
	return alone, err
}

// settle reads the fate of a message whose confirm is in.
func (t *Transport) settle(c *publishChannel, confirm *amqp.DeferredConfirmation, m *message) error {
	switch {
	case confirm.Acked():
		c.session.confirms.Add(1)
		if m.mandatory && c.wasReturned(m.Body) {
			return fmt.Errorf("no queue for routing key %q: %w", m.key, rpc.ErrUndeliverable)
		}
		return nil
	case c.ch.IsClosed():
		return c.closed()
	default:
		c.session.confirms.Add(1)
		c.retire(t.log, "the broker could not keep a message, publishing on another channel")
		return errNack
	}
}
