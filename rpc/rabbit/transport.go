// SPDX-License-Identifier: Apache-2.0

// Package rabbit is the RabbitMQ transport of package rpc. It declares what
// oslo.messaging's rabbit driver declares, with the same options, and restores it
// when a connection, a channel or a queue is lost.
//
// A transport has two connections, one to consume and one to publish, so that a
// broker that blocks publishers never stops acknowledgements. They are made when
// they are first needed.
package rabbit

import (
	"cmp"
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

// Transport implements rpc.Transport on RabbitMQ.
type Transport struct {
	options      Options
	log          logrus.FieldLogger
	ctx          context.Context
	cancel       context.CancelCauseFunc
	consumeConn  *managedConn
	publishConn  *managedConn
	lateReplies  *rpc.LateReplies
	replyTimeout sharedTimeout

	republishDelay time.Duration // longer after each negative confirm

	undeliverable atomic.Uint64 // replies

	replyLock chan struct{} // a token while the reply queue is being made
	replies   atomic.Pointer[rpc.Replies]
	replySub  *subscription

	mu        sync.Mutex
	listeners map[*listener]struct{}
	names     *nameCounter
	closed    chan struct{} // closed when Close has ended
	closing   bool
}

var _ rpc.Transport = (*Transport)(nil)

// Stats is a snapshot for metrics and health checks.
type Stats struct {
	Consume LinkStats
	Publish LinkStats
	// Consuming reports whether there are listeners and all of them consume now.
	Consuming bool
	// Undeliverable counts replies that were given up because their queue is missing.
	Undeliverable uint64
}

// LinkStats describes one of the two connections.
type LinkStats struct {
	Connected bool
	// Err is why there is no connection: the error that ended the last one, or the
	// error of the last attempt to connect. It is nil while there is a connection and
	// before the first attempt.
	Err error
	// Blocked reports whether the broker takes no messages at present.
	Blocked bool
	// Connections counts the connections made so far.
	Connections uint64
	// BlockedTime is the total time for which the broker has taken no messages.
	BlockedTime time.Duration
}

// New makes a transport of the broker hosts in u; options of the URL override o.
// It does no network I/O: connections are made when they are needed. Unknown or
// contradictory options and unreadable TLS files are errors.
func New(u *rpc.TransportURL, o Options, log logrus.FieldLogger) (*Transport, error) {
	o, err := o.withDefaults().withQuery(u.Query)
	if err != nil {
		return nil, err
	}
	if err := o.checkRanges(); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	secure, err := tlsConfig(&o)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = rpc.OrDiscard(nil)
	}
	t := &Transport{
		options: o, log: log, lateReplies: rpc.NewLateReplies(time.Duration(o.MissingConsumerTimeout) * time.Second), republishDelay: republishDelay,
		replyLock: make(chan struct{}, 1),
		listeners: make(map[*listener]struct{}),
		closed:    make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	welcomed := new(atomic.Bool)
	t.consumeConn = newManagedConn(t.ctx, "consume", newDialer(u, &t.options, secure), &t.options, welcomed, log)
	senders := newDialer(u, &t.options, secure)
	senders.batching = true
	t.publishConn = newManagedConn(t.ctx, "publish", senders, &t.options, welcomed, log)
	return t, nil
}

// Stats returns the state of the connections.
func (t *Transport) Stats() Stats {
	return Stats{
		Consume: t.consumeConn.stats(), Publish: t.publishConn.stats(),
		Consuming: t.consuming(), Undeliverable: t.undeliverable.Load(),
	}
}

// Unreachable waits until an attempt to connect has failed and will be repeated, and
// returns its error. It returns nil when ctx ends first.
func (t *Transport) Unreachable(ctx context.Context) error {
	for {
		consumeChanged, consumeErr := t.consumeConn.failedAttempt()
		publishChanged, publishErr := t.publishConn.failedAttempt()
		if err := cmp.Or(consumeErr, publishErr); err != nil {
			return err
		}
		select {
		case <-consumeChanged:
		case <-publishChanged:
		case <-ctx.Done():
			return nil
		}
	}
}

// consuming reports whether there are listeners and each has a consumer at every queue.
func (t *Transport) consuming() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l := range t.listeners {
		if !l.sub.consuming.Load() {
			return false
		}
	}
	return len(t.listeners) > 0
}

// Close ends all consumption, makes calls and publishings in flight fail with
// rpc.ErrClosed and closes both connections. Servers should be stopped before. It
// is idempotent.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	first := !t.closing
	t.closing = true
	left := make([]*listener, 0, len(t.listeners))
	for l := range t.listeners {
		left = append(left, l)
	}
	t.mu.Unlock()
	if !first {
		select {
		case <-t.closed:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("closing the transport: %w", ctx.Err())
		}
	}
	defer close(t.closed)
	var err error
	for _, l := range left {
		if e := l.Close(ctx); e != nil {
			err = fmt.Errorf("closing the transport: %w", e)
		}
	}
	t.cancel(rpc.ErrClosed)
	// A call that is making the reply queue now fails soon and returns the token.
	t.replyLock <- struct{}{}
	if t.replySub != nil {
		_ = t.replySub.close(ctx)
		t.replies.Load().Close(rpc.ErrClosed)
	}
	t.consumeConn.close(ctx)
	t.publishConn.close(ctx)
	t.replyTimeout.stop()
	<-t.replyLock
	t.names.release()
	return err
}

// addListener has Close close the listener.
func (t *Transport) addListener(l *listener) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return rpc.ErrClosed
	}
	t.listeners[l] = struct{}{}
	return nil
}

// removeListener forgets a listener and reports whether it was still open.
func (t *Transport) removeListener(l *listener) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, open := t.listeners[l]
	delete(t.listeners, l)
	return open
}

// listener is a subscription of a server or of a notification listener.
type listener struct {
	transport *Transport
	sub       *subscription
}

var _ rpc.Listener = (*listener)(nil)

// leastPrefetch is how many requests the broker sends ahead at first to a server without
// the option: enough that workers find the next one when they become free, and too few
// to keep work from servers that are idle.
const leastPrefetch = 8

// Listen implements rpc.Transport.
func (t *Transport) Listen(ctx context.Context, target rpc.Target, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	x := t.options.topicExchange(target.ExchangeName())
	var l rpc.Listener
	err := t.withQueueSuffix(func(suffix string) (err error) {
		l, err = t.listen(ctx, []queue{
			t.options.topicQueue(x, target.Topic),
			t.options.topicQueue(x, target.Topic+"."+target.Server),
			t.options.fanoutQueue(target.Topic, suffix),
		}, o, receive)
		return err
	})
	return l, err
}

// Subscribe declares the queues of the bindings and consumes each of them once. It
// waits for the broker as Listen does.
func (t *Transport) Subscribe(ctx context.Context, bindings []rpc.Binding, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	byQueue := make(map[string][]rpc.Binding)
	var names []string
	for _, b := range bindings {
		if byQueue[b.Queue] == nil {
			names = append(names, b.Queue)
		}
		byQueue[b.Queue] = append(byQueue[b.Queue], b)
	}
	queues := make([]queue, 0, len(names))
	for _, name := range names {
		queues = append(queues, t.options.bound(name, byQueue[name]))
	}
	return t.listen(ctx, queues, o, receive)
}

// listen consumes queues until the listener is closed.
func (t *Transport) listen(ctx context.Context, queues []queue, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	sub := newSubscription(t, t.options.prefetch(o.Concurrency), queues, func(c *consumer, deliveries <-chan amqp.Delivery) {
		eachArrival(deliveries, func(d *amqp.Delivery, at time.Time) { c.deliver(d, at, receive) })
	})
	l := &listener{transport: t, sub: sub}
	if err := t.addListener(l); err != nil {
		return nil, err
	}
	if err := sub.start(ctx); err != nil {
		t.removeListener(l)
		return nil, err
	}
	return l, nil
}

func (l *listener) Cancel(ctx context.Context) error { return l.sub.cancel(ctx) }

func (l *listener) Close(ctx context.Context) error {
	if !l.transport.removeListener(l) {
		return nil
	}
	return l.sub.close(ctx)
}

// replyPrefetch bounds the replies that are sent ahead, and ackEvery the replies that
// one acknowledgement covers.
const (
	replyPrefetch = 512
	ackEvery      = 64
)

// Replies implements rpc.Transport.
func (t *Transport) Replies(ctx context.Context) (*rpc.Replies, error) {
	select {
	case t.replyLock <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-t.replyLock }()
	if r := t.replies.Load(); r != nil {
		return r, nil
	}
	count := t.options.PrefetchCount
	if count == 0 {
		count = replyPrefetch
	}
	every := min(ackEvery, max(count/2, 1))
	err := t.withQueueSuffix(func(suffix string) error {
		q := t.options.replyQueue(suffix)
		r := rpc.NewReplies(q.name, t.log)
		sub := newSubscription(t, prefetch{count, count}, []queue{q}, func(c *consumer, deliveries <-chan amqp.Delivery) {
			c.receiveReplies(r, deliveries, every)
		})
		if err := sub.start(ctx); err != nil {
			return err
		}
		r.OnTimeout(sub.requestCheck)
		t.replySub = sub
		t.replies.Store(r)
		return nil
	})
	return t.replies.Load(), err
}

// withQueueSuffix calls start with the end of a queue's name: 32 random digits or, with
// the queue manager, host, process and a number. When another process uses the queue
// already, as one in another container can, it tries again with the next number.
func (t *Transport) withQueueSuffix(start func(suffix string) error) error {
	for {
		suffix, err := t.queueSuffix()
		if err != nil {
			return err
		}
		err = start(suffix)
		if !errors.Is(err, errNameTaken) {
			return err
		}
		t.log.WithError(err).Warn("taking another number for a queue")
		t.names.skip()
	}
}

func (t *Transport) queueSuffix() (string, error) {
	if !t.options.UseQueueManager {
		return rpc.NewID(), nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		c, err := newNameCounter(lockFolder(), t.options.Hostname, t.options.ProcessName)
		if err != nil {
			return "", err
		}
		t.names = c
	}
	return t.names.next(), nil
}
