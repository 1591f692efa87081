// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
)

// patience is how long replies to a missing queue are kept, as in package rabbit.
const patience = 60 * time.Second

// Transport is a peer's connection to an in-memory Broker.
type Transport struct {
	broker *Broker
	late   *rpc.LateReplies
	life   context.Context // ends when the transport is closed
	end    context.CancelFunc

	mu      sync.Mutex
	replies *rpc.Replies
	pumps   sync.WaitGroup
}

var _ rpc.Transport = (*Transport)(nil)

// Transport returns a new peer of the broker; the caller closes it.
func (b *Broker) Transport() *Transport {
	t := &Transport{broker: b, late: rpc.NewLateReplies(patience)}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// Close ends the transport and waits for its goroutines.
func (t *Transport) Close(context.Context) error {
	t.mu.Lock()
	t.end()
	if t.replies != nil {
		t.replies.Close(rpc.ErrClosed)
	}
	t.mu.Unlock()
	t.pumps.Wait()
	return nil
}

// Send implements rpc.Transport.
func (t *Transport) Send(ctx context.Context, target rpc.Target, p rpc.Publishing) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if err := t.broker.takes(p.Body); err != nil {
		return err
	}
	if target.Fanout {
		for _, name := range t.broker.bound(target.Topic) {
			t.broker.put(name, envelope(p), false)
		}
		return nil
	}
	if !t.broker.put(topicQueue(target), envelope(p), false) && p.Mandatory {
		return rpc.ErrUndeliverable
	}
	return nil
}

func envelope(p rpc.Publishing) *message {
	m := &message{RawMessage: RawMessage{
		ContentType: rpc.ContentType, ContentEncoding: rpc.ContentEncoding, DeliveryMode: 2,
		Headers: p.Headers, Body: p.Body,
	}}
	if p.Expiration > 0 {
		m.expires = time.Now().Add(p.Expiration)
		m.Expiration = strconv.FormatInt(p.Expiration.Milliseconds(), 10)
	}
	return m
}

// Reply implements rpc.Transport.
func (t *Transport) Reply(ctx context.Context, queue string, body func() []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	err := t.late.Send(ctx, queue, body, func(text []byte) error {
		if err := t.usable(ctx); err != nil {
			return err
		}
		m := envelope(rpc.Publishing{Body: text})
		if err := t.broker.takes(m.Body); err != nil {
			return err
		}
		if !t.broker.put(queue, m, false) {
			return rpc.ErrUndeliverable
		}
		return nil
	})
	if t.life.Err() != nil && err != nil {
		return rpc.ErrClosed
	}
	return err
}

func (t *Transport) usable(ctx context.Context) error {
	if t.life.Err() != nil {
		return rpc.ErrClosed
	}
	return ctx.Err()
}

// Replies implements rpc.Transport.
func (t *Transport) Replies(ctx context.Context) (*rpc.Replies, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.replies != nil {
		return t.replies, nil
	}
	name := "reply_" + rpc.NewID()
	t.broker.Declare(name)
	r := rpc.NewReplies(name, nil)
	t.pumps.Go(func() {
		for {
			m := t.broker.take(name, t.life.Done())
			if m == nil {
				return
			}
			r.Receive(incoming(m, nil))
		}
	})
	t.replies = r
	return r, nil
}

func incoming(m *message, a rpc.Acknowledger) rpc.Incoming {
	return rpc.Incoming{
		Acknowledger: a, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding,
		Compression: m.Compression, Expiration: m.Expiration, Headers: m.Headers,
		Body: m.Body, Redelivered: m.redelivered, Arrived: time.Now(),
	}
}

// listener consumes the three queues of a server, or queues of notifications.
type listener struct {
	transport *Transport
	target    rpc.Target
	fanout    string // empty: none
	cancelled chan struct{}
	once      sync.Once
	closing   sync.Once
	pumps     sync.WaitGroup

	mu   sync.Mutex
	held map[*delivery]struct{} // deliveries that nobody has settled
}

// Listen implements rpc.Transport.
func (t *Transport) Listen(ctx context.Context, target rpc.Target, _ rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	l := &listener{
		transport: t, target: target, fanout: target.Topic + "_fanout_" + rpc.NewID(),
		cancelled: make(chan struct{}), held: make(map[*delivery]struct{}),
	}
	shared := target
	shared.Server = ""
	names := []string{topicQueue(shared), topicQueue(target), l.fanout}
	t.broker.Declare(names[0])
	t.broker.Declare(names[1])
	t.broker.bind(target.Topic, l.fanout)
	for _, name := range names {
		l.pumps.Go(func() { l.pump(name, receive) })
	}
	return l, nil
}

func (l *listener) pump(name string, receive func(rpc.Incoming)) {
	for {
		m := l.transport.broker.take(name, l.cancelled)
		if m == nil {
			return
		}
		d := &delivery{listener: l, queue: name, message: m}
		l.mu.Lock()
		l.held[d] = struct{}{}
		l.mu.Unlock()
		receive(incoming(m, d))
	}
}

// Cancel implements rpc.Listener.
func (l *listener) Cancel(ctx context.Context) error {
	l.once.Do(func() { close(l.cancelled) })
	idle := make(chan struct{})
	go func() {
		l.pumps.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements rpc.Listener.
func (l *listener) Close(ctx context.Context) error {
	err := l.Cancel(ctx)
	l.closing.Do(func() {
		l.mu.Lock()
		held := l.held
		l.held = nil
		l.mu.Unlock()
		for d := range held {
			d.requeue()
		}
		if l.fanout != "" {
			l.transport.broker.unbind(l.target.Topic, l.fanout)
		}
	})
	return err
}

// errSettled is the error for a delivery that was already settled or requeued.
var errSettled = errors.New("delivery is not with this consumer any more")

// delivery is an unsettled message held by a server.
type delivery struct {
	listener *listener
	queue    string
	message  *message
}

var _ rpc.Acknowledger = (*delivery)(nil)

// Ack implements rpc.Acknowledger.
func (d *delivery) Ack() error { return d.settle() }

// Reject implements rpc.Acknowledger.
func (d *delivery) Reject(requeue bool) error {
	if err := d.settle(); err != nil || !requeue {
		return err
	}
	d.requeue()
	return nil
}

func (d *delivery) settle() error {
	d.listener.mu.Lock()
	defer d.listener.mu.Unlock()
	if _, ok := d.listener.held[d]; !ok {
		return errSettled
	}
	delete(d.listener.held, d)
	return nil
}

func (d *delivery) requeue() {
	again := *d.message
	again.redelivered = true
	d.listener.transport.broker.put(d.queue, &again, true)
}

var _ notify.Transport = (*Transport)(nil)

// Post implements notify.Transport.
func (t *Transport) Post(ctx context.Context, to rpc.Binding, p rpc.Publishing) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if err := t.broker.takes(p.Body); err != nil {
		return err
	}
	t.broker.route(to)
	for _, queue := range t.broker.routed(to.ExchangeName(), to.Key) {
		t.broker.put(queue, envelope(p), false)
	}
	return nil
}

// Subscribe implements notify.Transport.
func (t *Transport) Subscribe(ctx context.Context, bindings []rpc.Binding, _ rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	l := &listener{transport: t, cancelled: make(chan struct{}), held: make(map[*delivery]struct{})}
	consumed := make(map[string]bool)
	for _, b := range bindings {
		t.broker.route(b)
		if !consumed[b.Queue] {
			consumed[b.Queue] = true
			l.pumps.Go(func() { l.pump(b.Queue, receive) })
		}
	}
	return l, nil
}
