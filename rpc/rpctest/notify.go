// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
)

var _ notify.Transport = (*Transport)(nil)

// route makes the queue of a binding and has the exchange feed it.
func (b *Broker) route(to rpc.Binding) {
	to.Exchange = to.ExchangeName()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.declare(to.Queue)
	b.routes[to] = true
}

// routed are the queues that a key of an exchange feeds.
func (b *Broker) routed(exchange, key string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var queues []string
	for to := range b.routes {
		if to.Exchange == exchange && to.Key == key {
			queues = append(queues, to.Queue)
		}
	}
	return queues
}

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
