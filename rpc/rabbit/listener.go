// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

// leastPrefetch is how many requests the broker sends ahead to a server without the
// option: enough for the next ones to be here when workers become free, and too few
// to keep work from others that are idle.
const leastPrefetch = 8

// listener is a subscription of a server or of a listener for notifications.
type listener struct {
	transport *Transport
	sub       *subscription
}

var _ rpc.Listener = (*listener)(nil)

// Listen implements rpc.Transport.
func (t *Transport) Listen(ctx context.Context, target rpc.Target, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	x := t.options.topicExchange(target.ExchangeName())
	var l rpc.Listener
	err := t.underName(func(suffix string) (err error) {
		l, err = t.listen(ctx, []queue{
			t.options.topicQueue(x, target.Topic),
			t.options.topicQueue(x, target.Topic+"."+target.Server),
			t.options.fanoutQueue(target.Topic, suffix),
		}, o, receive)
		return err
	})
	return l, err
}

// listen consumes queues until the listener is closed.
func (t *Transport) listen(ctx context.Context, queues []queue, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	sub := t.subscription(t.options.prefetch(o.Concurrency), queues, func(c *consumer, deliveries <-chan amqp.Delivery) {
		eachArrival(deliveries, func(d *amqp.Delivery, at time.Time) { c.hand(d, at, receive) })
	})
	l := &listener{transport: t, sub: sub}
	if err := t.keep(l); err != nil {
		return nil, err
	}
	if err := sub.start(ctx); err != nil {
		t.release(l)
		return nil, err
	}
	return l, nil
}

// prefetch is the option, or grows with what a server has in work at a time.
func (o *Options) prefetch(concurrency int) prefetch {
	if o.PrefetchCount > 0 {
		return prefetch{o.PrefetchCount, o.PrefetchCount}
	}
	most := max(concurrency, 1)
	return prefetch{min(leastPrefetch, most), most}
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
	count := t.options.PrefetchCount
	if count == 0 {
		count = replyPrefetch
	}
	every := min(ackEvery, max(count/2, 1))
	err := t.underName(func(suffix string) error {
		q := t.options.replyQueue(suffix)
		r := rpc.NewReplies(q.name, t.log)
		sub := t.subscription(prefetch{count, count}, []queue{q}, func(c *consumer, deliveries <-chan amqp.Delivery) {
			c.receiveReplies(r, deliveries, every)
		})
		if err := sub.start(ctx); err != nil {
			return err
		}
		r.OnTimeout(sub.suspect)
		t.replySub = sub
		t.replies.Store(r)
		return nil
	})
	return t.replies.Load(), err
}

// receiveReplies hands replies to their calls. Every reply is acknowledged at
// once, so that one acknowledgement can cover all that have come together.
func (n *consumer) receiveReplies(r *rpc.Replies, deliveries <-chan amqp.Delivery, every int) {
	for d := range deliveries {
		r.Receive(incoming(&d))
		last, more := d, true
		for count := 1; count < every && more; count++ {
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
		_ = n.of.acks.ackUpTo(last.DeliveryTag)
	}
}
