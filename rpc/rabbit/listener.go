// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

// prefetchPerWorker sizes the prefetch of a server without the option: enough for
// the next requests to be here when workers become free.
const prefetchPerWorker = 2

// listener is a subscription of a server or of a listener for notifications.
type listener struct {
	transport *Transport
	sub       *subscription
}

var _ rpc.Listener = (*listener)(nil)

// Listen implements rpc.Transport.
func (t *Transport) Listen(ctx context.Context, target rpc.Target, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	suffix, err := t.queueSuffix()
	if err != nil {
		return nil, err
	}
	x := t.options.topicExchange(target.ExchangeName())
	return t.listen(ctx, []queue{
		t.options.topicQueue(x, target.Topic),
		t.options.topicQueue(x, target.Topic+"."+target.Server),
		t.options.fanoutQueue(target.Topic, suffix),
	}, o, func(s *subscription, a *acks, deliveries <-chan amqp.Delivery) {
		eachArrival(deliveries, func(d *amqp.Delivery, at time.Time) {
			if t.options.StreamFanout {
				s.sawOffset(d)
			}
			m := a.incoming(d)
			m.Arrived = at
			receive(m)
		})
	})
}

// listen consumes queues until the listener is closed.
func (t *Transport) listen(ctx context.Context, queues []queue, o rpc.ListenOptions, drain func(*subscription, *acks, <-chan amqp.Delivery)) (rpc.Listener, error) {
	prefetch := t.options.PrefetchCount
	if prefetch == 0 {
		prefetch = prefetchPerWorker * max(o.Concurrency, 1)
	}
	sub := t.subscription(prefetch, queues, drain)
	if err := sub.start(ctx); err != nil {
		return nil, err
	}
	l := &listener{transport: t, sub: sub}
	if err := t.keep(l); err != nil {
		_ = l.sub.close(ctx)
		return nil, err
	}
	return l, nil
}

func (l *listener) Cancel(ctx context.Context) error { return l.sub.cancel(ctx) }

func (l *listener) Close(ctx context.Context) error {
	if !l.transport.release(l) {
		return nil
	}
	return l.sub.close(ctx)
}

// replyPrefetch bounds the replies on their way to this process, and ackEvery the
// replies that one acknowledgement covers.
const (
	replyPrefetch = 512
	ackEvery      = 64
)

// Replies implements rpc.Transport.
func (t *Transport) Replies(ctx context.Context) (*rpc.Replies, error) {
	select {
	case t.replyTurn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-t.replyTurn }()
	if r := t.replies.Load(); r != nil {
		return r, nil
	}
	suffix, err := t.queueSuffix()
	if err != nil {
		return nil, err
	}
	q := t.options.replyQueue(suffix)
	r := rpc.NewReplies(q.name, t.log)
	prefetch := t.options.PrefetchCount
	if prefetch == 0 {
		prefetch = replyPrefetch
	}
	every := min(ackEvery, max(prefetch/2, 1))
	sub := t.subscription(prefetch, []queue{q}, func(_ *subscription, _ *acks, deliveries <-chan amqp.Delivery) {
		receiveReplies(r, deliveries, every)
	})
	if err := sub.start(ctx); err != nil {
		return nil, err
	}
	t.replySub = sub
	t.replies.Store(r)
	return r, nil
}

// receiveReplies hands replies to their calls. Every reply is acknowledged at
// once, so that one acknowledgement can cover all that have come together.
func receiveReplies(r *rpc.Replies, deliveries <-chan amqp.Delivery, every int) {
	for d := range deliveries {
		r.Receive(incoming(&d))
		last, more := d, true
		for n := 1; n < every && more; n++ {
			select {
			case next, ok := <-deliveries:
				if more = ok; ok {
					r.Receive(incoming(&next))
					last = next
				}
			default:
				more = false
			}
		}
		// On a lost channel the broker delivers again; nobody waits for it then.
		_ = last.Ack(true)
	}
}

func (t *Transport) subscription(prefetch int, queues []queue, drain func(*subscription, *acks, <-chan amqp.Delivery)) *subscription {
	return &subscription{
		link: t.receivers, queues: queues, prefetch: prefetch, options: &t.options, log: t.log, drain: drain,
	}
}
