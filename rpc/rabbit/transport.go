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
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

// Transport implements rpc.Transport on RabbitMQ.
type Transport struct {
	options   Options
	log       logrus.FieldLogger
	life      context.Context
	end       context.CancelCauseFunc
	receivers *link
	senders   *link
	late      *rpc.LateReplies
	patience  patience

	republishPause time.Duration // longer after each negative confirm

	undeliverable atomic.Uint64 // replies

	replyTurn chan struct{} // held while the reply queue is made
	replies   atomic.Pointer[rpc.Replies]
	replySub  *subscription

	mu        sync.Mutex
	listeners map[*listener]struct{}
	names     *nameCounter
	closed    chan struct{} // closed when Close has ended
	closing   bool
}

// Stats is a snapshot for metrics and health checks.
type Stats struct {
	Consume LinkStats
	Publish LinkStats
	// Consuming says that there are listeners, and that each of them consumes now.
	Consuming bool
	// Undeliverable counts the replies given up because their queue is missing.
	Undeliverable uint64
}

// LinkStats describes one of the two connections.
type LinkStats struct {
	Connected bool
	// Blocked says that the broker takes no messages for now.
	Blocked bool
	// Connections counts the connections that there have been.
	Connections uint64
	// BlockedTime is for how long, all in all, the broker has taken no messages.
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
	secure, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = discard()
	}
	t := &Transport{
		options: o, log: log, late: rpc.NewLateReplies(time.Duration(o.MissingConsumerTimeout) * time.Second), republishPause: republishPause,
		replyTurn: make(chan struct{}, 1),
		listeners: make(map[*listener]struct{}),
		closed:    make(chan struct{}),
	}
	t.life, t.end = context.WithCancelCause(context.Background())
	welcomed := new(atomic.Bool)
	t.receivers = newLink(t.life, "consume", newDialer(u, &t.options, secure), &t.options, welcomed, log)
	senders := newDialer(u, &t.options, secure)
	senders.gather = true
	t.senders = newLink(t.life, "publish", senders, &t.options, welcomed, log)
	return t, nil
}

// Stats tells the state of the connections.
func (t *Transport) Stats() Stats {
	return Stats{
		Consume: t.receivers.state(), Publish: t.senders.state(),
		Consuming: t.consuming(), Undeliverable: t.undeliverable.Load(),
	}
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
	t.end(rpc.ErrClosed)
	// Whoever makes the reply queue now fails soon.
	t.replyTurn <- struct{}{}
	if t.replySub != nil {
		_ = t.replySub.close(ctx)
		t.replies.Load().Close(rpc.ErrClosed)
	}
	t.receivers.close(ctx)
	t.senders.close(ctx)
	t.patience.end()
	<-t.replyTurn
	t.names.release()
	return err
}

// keep remembers a listener for Close.
func (t *Transport) keep(l *listener) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return rpc.ErrClosed
	}
	t.listeners[l] = struct{}{}
	return nil
}

// release reports whether the listener was still open.
func (t *Transport) release(l *listener) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, open := t.listeners[l]
	delete(t.listeners, l)
	return open
}
