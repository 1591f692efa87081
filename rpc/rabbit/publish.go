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
	// maxRefusals is how often the broker may close the channel over one message.
	maxRefusals = 2
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
	amqp.Publishing
}

func (m *message) exchangeName() string {
	if m.exchange == nil {
		return ""
	}
	return m.exchange.name
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
func (t *Transport) publish(ctx context.Context, m *message) error {
	refusals, nacks := 0, 0
	for {
		s, err := t.session(ctx, m)
		if err != nil {
			return fmt.Errorf("%w: %w", rpc.ErrDelivery, err)
		}
		err = t.attempt(ctx, s, m)
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
		case permanent(err):
			refusals++
		case ofCode(err, amqp.NotFound):
			refusals++
			s.undeclare(m.exchangeName())
			if m.queue != nil {
				s.undeclare(m.queue.mark())
			}
		}
		if refusals >= maxRefusals || nacks >= maxNacks || m.exhausted() {
			return fmt.Errorf("%w: %w", rpc.ErrDelivery, err)
		}
		t.log.WithError(err).WithField("routing_key", m.key).Debug("publishing again")
		if !pause(ctx, t.republishPause*time.Duration(max(1, 2*nacks-1))) {
			return fmt.Errorf("%w: %w: %w", rpc.ErrDelivery, ctx.Err(), err)
		}
	}
}

// attempt publishes once.
func (t *Transport) attempt(ctx context.Context, s *session, m *message) error {
	if err := s.unblocked(ctx); err != nil {
		return err
	}
	switch {
	case m.queue != nil:
		if err := s.ensure(ctx, m.queue, t.log); err != nil {
			return err
		}
	case m.exchange != nil:
		if err := s.ensure(ctx, m.exchange, t.log); err != nil {
			return err
		}
	}
	o, err := s.outlet(outletOf(m.exchangeName(), m.key))
	if err != nil {
		return err
	}
	select {
	case o.window <- struct{}{}:
	default:
		select {
		case o.window <- struct{}{}:
		case <-s.life.Done():
			return amqp.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	confirm, err := o.ch.PublishWithDeferredConfirm(m.exchangeName(), m.key, m.mandatory, false, m.Publishing)
	if err != nil {
		<-o.window
		return err
	}
	if err := o.confirmed(ctx, confirm, answerTime); err != nil {
		// The place in the window belongs to the message until its confirm.
		go func() {
			_ = o.confirmed(context.Background(), confirm, answerTime)
			_ = t.settle(o, confirm, m)
			<-o.window
		}()
		return err
	}
	defer func() { <-o.window }()
	return t.settle(o, confirm, m)
}

// settle reads the fate of a message whose confirm is in.
func (t *Transport) settle(o *outlet, confirm *amqp.DeferredConfirmation, m *message) error {
	switch {
	case confirm.Acked():
		if m.mandatory && o.wasReturned(m.Body) {
			return fmt.Errorf("no queue for routing key %q: %w", m.key, rpc.ErrUndeliverable)
		}
		return nil
	case o.ch.IsClosed():
		return o.closed()
	default:
		o.retire(t.log)
		return errNack
	}
}
