// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

const (
	// minReplyTimeout is the least time for which a reply waits for an absent broker.
	minReplyTimeout = 10 * time.Second
	// republishDelay is the pause before a message is sent again.
	republishDelay = 100 * time.Millisecond
	// maxMisses is how often the exchange of a message may be found missing.
	maxMisses = 2
)

// message is one publishing with its address.
type message struct {
	exchange  *exchange // nil is the default exchange
	key       string
	mandatory bool
	// queue is declared together with the exchange; nil for most messages.
	queue *queue
	// retry is how many more attempts may be made; nil means no limit.
	retry *int
	// isolated has the message sent on the quarantine channel.
	isolated bool
	amqp.Publishing
}

func (m *message) address() address {
	if m.exchange == nil {
		return address{key: m.key}
	}
	return address{m.exchange.name, m.key}
}

// addHeaders sets a caller's headers, except those that the transport has set.
func (m *message) addHeaders(headers map[string]string) {
	for name, value := range headers {
		if m.Headers == nil {
			m.Headers = make(amqp.Table, len(headers))
		}
		if _, own := m.Headers[name]; !own {
			m.Headers[name] = value
		}
	}
}

// setRetry copies the bound, because the message counts it down.
func (m *message) setRetry(retry *int) {
	if retry != nil && *retry >= 0 {
		left := *retry
		m.retry = &left
	}
}

// takeRetry counts an attempt and reports whether no more are left.
func (m *message) takeRetry() bool {
	if m.retry == nil {
		return false
	}
	*m.retry--
	return *m.retry < 0
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

// Post publishes to a key. It declares the queue once per connection, so that messages
// wait there while nobody listens, and returns when the broker has confirmed the message.
func (t *Transport) Post(ctx context.Context, b rpc.Binding, p rpc.Publishing) error {
	q := t.options.bound(b.Queue, []rpc.Binding{b})
	m := message{exchange: q.exchange, key: b.Key, queue: &q, mandatory: p.Mandatory}
	if err := t.fill(&m, p.Body); err != nil {
		return err
	}
	m.addHeaders(p.Headers)
	m.setRetry(p.Retry)
	return t.publish(ctx, &m)
}

// Reply implements rpc.Transport.
func (t *Transport) Reply(ctx context.Context, queue string, body func() []byte) error {
	patience := time.Duration(t.options.MissingConsumerTimeout) * time.Second
	ctx, done := t.replyTimeout.context(ctx, max(patience, minReplyTimeout))
	defer done()
	err := t.lateReplies.Send(ctx, queue, body, func(body []byte) error {
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

// compressionHeader holds the name of a body's compression. kombu: messaging.py
const compressionHeader = "compression"

// publish sends the message to the broker and waits for its confirm. When the connection
// or channel is lost before that, or the broker could not keep the message, it is sent
// again; the receiver recognises a duplicate by its unique id.
//
// When the broker refuses a message, it closes the channel with all other messages that
// are not confirmed yet. Each of them is then sent again alone, where a refusal can only
// concern that message.
func (t *Transport) publish(ctx context.Context, m *message) error {
	misses, nacks := 0, 0
	for {
		s, err := t.publishConn.get(ctx, m.retry)
		if err != nil {
			return fmt.Errorf("%w: %w", rpc.ErrDelivery, err)
		}
		if err := s.checkSize(m); err != nil {
			return err
		}
		alone := true
		if err = t.declare(ctx, s, m); err == nil {
			alone, err = t.publishOnce(ctx, s, m)
		}
		s.learnSizeLimit(err)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, rpc.ErrUndeliverable):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w: %w", rpc.ErrDelivery, ctx.Err(), err)
		case t.ctx.Err() != nil:
			return context.Cause(t.ctx)
		case errors.Is(err, errNack):
			nacks++
		case !alone && refuses(err):
			m.isolated = true
			continue
		case permanent(err):
			return fmt.Errorf("%w: %w: %w", rpc.ErrDelivery, rpc.ErrRefused, err)
		case ofCode(err, amqp.NotFound):
			misses++
			s.undeclare(m.address().exchange)
			if m.queue != nil {
				s.undeclare(m.queue.declarationKey())
			}
		}
		if misses >= maxMisses || nacks >= maxNacks || m.takeRetry() {
			return fmt.Errorf("%w: %w", rpc.ErrDelivery, err)
		}
		t.log.WithError(err).WithField("routing_key", m.key).Debug("publishing again")
		if !pause(ctx, t.republishDelay*time.Duration(max(1, 2*nacks-1))) {
			return fmt.Errorf("%w: %w: %w", rpc.ErrDelivery, ctx.Err(), err)
		}
	}
}

// declare declares the exchange and the queue that the message is published to.
func (t *Transport) declare(ctx context.Context, s *session, m *message) error {
	if err := s.waitUntilUnblocked(ctx); err != nil {
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

// publishOnce sends the message once, and reports whether it was alone on its channel.
func (t *Transport) publishOnce(ctx context.Context, s *session, m *message) (alone bool, err error) {
	a := m.address()
	suspect, err := s.acquireWindow(ctx, a)
	if err != nil {
		return false, err
	}
	number := sharedChannel(a)
	if alone = m.isolated || suspect; alone {
		number = quarantine
	}
	c, err := s.publishChannel(ctx, number)
	if err != nil {
		s.releaseWindow(a, false)
		return alone, err
	}
	release := func(confirmed bool) {
		c.release()
		s.releaseWindow(a, confirmed)
	}
	if err := s.conn.waitForRoom(ctx); err != nil {
		release(false)
		return alone, err
	}
	confirm, err := c.ch.PublishWithDeferredConfirm(a.exchange, m.key, m.mandatory, false, m.Publishing)
	if err != nil {
		release(false)
		if c.ch.IsClosed() {
			err = c.closeReason()
		}
		return alone, err
	}
	if err := c.waitForConfirm(ctx, confirm, t.log); err != nil {
		// The message keeps its place in the windows until its confirm comes.
		go func() {
			err := c.waitForConfirm(context.Background(), confirm, t.log)
			if err == nil {
				err = t.confirmResult(c, confirm, m)
			}
			release(err == nil)
		}()
		return alone, err
	}
	err = t.confirmResult(c, confirm, m)
	release(err == nil)
	if alone && (err == nil || permanent(err)) {
		s.recordRefusal(a, err != nil)
	}
	return alone, err
}

// confirmResult returns the outcome of a message whose confirm has come.
func (t *Transport) confirmResult(c *publishChannel, confirm *amqp.DeferredConfirmation, m *message) error {
	switch {
	case confirm.Acked():
		c.session.confirms.Add(1)
		if m.mandatory && c.wasReturned(m.Body) {
			return fmt.Errorf("no queue for routing key %q: %w", m.key, rpc.ErrUndeliverable)
		}
		return nil
	case c.ch.IsClosed():
		return c.closeReason()
	default:
		c.session.confirms.Add(1)
		c.retire(t.log, "the broker could not keep a message, publishing on another channel")
		return errNack
	}
}

// sharedTimeout makes contexts with a timeout. All callers within an eighth of the timeout
// share one context. A context and a timer for each reply would cost more
// than the rest of sending it.
type sharedTimeout struct {
	mu          sync.Mutex
	parent      context.Context
	duration    time.Duration
	sharedUntil time.Time // until when the context can be shared
	shared      context.Context
	cancel      context.CancelFunc
}

// context returns a context that ends with its parent, or after the duration and up to
// an eighth more. The caller calls done in the end. A caller with another parent or
// duration than those of the shared context gets a context of its own, so that two
// parents do not replace the shared one all the time.
func (p *sharedTimeout) context(parent context.Context, lasts time.Duration) (ctx context.Context, done context.CancelFunc) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared != nil && now.Before(p.sharedUntil) {
		if p.parent == parent && p.duration == lasts {
			return p.shared, func() {}
		}
		return context.WithTimeout(parent, lasts)
	}
	// The previous context is left to its timer, because others may be using it.
	extra := lasts / 8
	p.parent, p.duration, p.sharedUntil = parent, lasts, now.Add(extra)
	p.shared, p.cancel = context.WithTimeout(parent, lasts+extra)
	return p.shared, func() {}
}

// stop cancels the shared context.
func (p *sharedTimeout) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
}
