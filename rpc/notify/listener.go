// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

// ErrRequeue is returned by a handler, wrapped or not, to receive an event again later.
// The listener must allow requeueing.
// oslo.messaging: NotificationResult.REQUEUE
var ErrRequeue = errors.New("notification is to be delivered again")

// Handler handles one event. Its context ends when the listener is stopped hard. An
// error is logged; the event is requeued when the listener allows that and is
// acknowledged otherwise. The same event can come again after a crash, or when the
// connection was lost before the acknowledgement.
type Handler func(ctx context.Context, e *Event) error

// Endpoint is a set of handlers by priority.
type Endpoint struct {
	Handlers map[Priority]Handler
	// Accept selects events; nil selects all. It corresponds to oslo.messaging's
	// NotificationFilter.
	Accept func(e *Event) bool
}

// Source is a topic from which events are received.
type Source struct {
	// Exchange scopes the topic; empty means rpc.DefaultExchange.
	Exchange string
	// Topic is DefaultTopic when empty.
	Topic string
}

// ListenerOptions tune a listener; the zero value is ready for use.
type ListenerOptions struct {
	// Pool names a queue that receives a copy of every event; the listeners of a pool
	// share it. Without a pool, all listeners share the queues of the topics.
	Pool string
	// AllowRequeue requeues an event when a handler fails or returns ErrRequeue. An
	// event that always fails is then delivered for ever.
	AllowRequeue bool
	// Workers bounds the events worked on at a time; 0 means rpc.DefaultWorkers.
	Workers int
	Log     logrus.FieldLogger
}

// Listener receives events.
type Listener struct {
	transport Transport
	bindings  []rpc.Binding
	endpoints []Endpoint
	options   ListenerOptions
	log       logrus.FieldLogger

	slots   chan struct{} // one token for each event in work
	seen    *seen
	running sync.WaitGroup
	soft    context.Context // of receiving
	drain   context.CancelFunc
	hard    context.Context // of handlers
	cancel  context.CancelFunc

	starting chan struct{} // closed when Start has ended
	consumer rpc.Listener  // valid when starting is closed; nil when the start has failed

	mu      sync.Mutex
	started bool
	stopped bool
}

// NewListener returns a listener on every source for the priorities that its endpoints
// handle.
func NewListener(t Transport, sources []Source, endpoints []Endpoint, o ListenerOptions) (*Listener, error) {
	if o.Workers <= 0 {
		o.Workers = rpc.DefaultWorkers
	}
	l := &Listener{
		transport: t, endpoints: endpoints, options: o, log: o.Log,
		slots: make(chan struct{}, o.Workers), seen: newSeen(), starting: make(chan struct{}),
	}
	l.log = rpc.OrDiscard(l.log)
	for _, s := range sources {
		topic := s.Topic
		if topic == "" {
			topic = DefaultTopic
		}
		for _, p := range handled(endpoints) {
			b := bind(s.Exchange, topic, p)
			if o.Pool != "" {
				b.Queue = o.Pool
			}
			l.bindings = append(l.bindings, b)
		}
	}
	if len(l.bindings) == 0 {
		return nil, errors.New("notify: a listener needs a source and a handler")
	}
	l.soft, l.drain = context.WithCancel(context.Background())
	l.hard, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// handled returns the priorities for which any endpoint has a handler.
func handled(endpoints []Endpoint) []Priority {
	var have []Priority
	for _, p := range priorities {
		if slices.ContainsFunc(endpoints, func(e Endpoint) bool { return e.Handlers[p] != nil }) {
			have = append(have, p)
		}
	}
	return have
}

// Start begins to receive and returns when events can arrive. It waits for the
// broker as rpc.Server's Start does. A listener starts once.
func (l *Listener) Start(ctx context.Context) error {
	l.mu.Lock()
	again, stopped := l.started, l.stopped
	l.started = l.started || !stopped
	l.mu.Unlock()
	switch {
	case again:
		return errors.New("notify: listener has been started before")
	case stopped:
		return fmt.Errorf("listening for notifications: %w", rpc.ErrStopped)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.soft, func() { cancel(rpc.ErrStopped) })()
	// Events that arrived before the start was cancelled go back to the broker, so that
	// none waits for a worker while the transport undoes the start.
	cancelled := context.AfterFunc(ctx, l.drain)
	defer close(l.starting)
	c, err := l.transport.Subscribe(ctx, l.bindings, rpc.ListenOptions{Concurrency: l.options.Workers}, l.receive)
	inTime := cancelled()
	if err == nil && !inTime {
		// The end came too late for the transport to see it.
		err = errors.Join(ctx.Err(), c.Close(context.WithoutCancel(ctx)))
	}
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, rpc.ErrStopped) {
			err = errors.Join(cause, err)
		}
		return fmt.Errorf("listening for notifications: %w", err)
	}
	l.consumer = c
	return nil
}

// Stop takes no more events, waits for the handlers and gives back the events that have
// not started. When ctx ends first, the contexts of the handlers are cancelled, their
// events go back to the broker and the error of ctx is returned. It is idempotent.
func (l *Listener) Stop(ctx context.Context) error {
	l.mu.Lock()
	first, started := !l.stopped, l.started
	l.stopped = true
	l.mu.Unlock()
	l.drain()
	defer l.cancel()
	if !first || !started {
		return nil
	}
	select {
	case <-l.starting:
	default:
		select {
		case <-l.starting: // soon: the start has been cancelled
		case <-ctx.Done():
			return fmt.Errorf("stopping while the listener starts: %w", ctx.Err())
		}
	}
	if l.consumer == nil {
		return l.finishEvents(ctx)
	}
	err := l.consumer.Cancel(ctx)
	err = errors.Join(err, l.finishEvents(ctx))
	return errors.Join(err, l.consumer.Close(context.WithoutCancel(ctx)))
}

// finishEvents waits for the handlers, and cancels their contexts when ctx ends first.
func (l *Listener) finishEvents(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		l.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		l.cancel()
		return fmt.Errorf("stopping with %d notifications in work: %w", len(l.slots), ctx.Err())
	}
}

// receive takes one message. It blocks while all workers are busy, which is the
// back-pressure on the broker.
// oslo.messaging: notify/listener.py, amqpdriver.py NotificationAMQPIncomingMessage
func (l *Listener) receive(m rpc.Incoming) {
	if l.soft.Err() == nil {
		select {
		case l.slots <- struct{}{}:
			l.running.Go(func() { l.work(m) })
			return
		case <-l.soft.Done():
		}
	}
	l.settle(m.Reject(true))
}

// work runs the handlers of an event.
func (l *Listener) work(m rpc.Incoming) {
	defer func() { <-l.slots }()
	e, id := l.read(m)
	if e == nil {
		return
	}
	err := errGoexit
	defer func() { l.conclude(m, e, id, err) }()
	err = l.handle(e)
}

// read decodes a message. A message that needs no handling is settled, and the event is
// nil.
func (l *Listener) read(m rpc.Incoming) (*Event, string) {
	payload, err := m.Payload()
	var e *Event
	var id string
	known := false
	if err == nil {
		e, id, known, err = decode(payload)
	}
	switch {
	case err != nil:
		l.log.WithError(err).Error("rejected a message that is no notification")
		l.settle(m.Reject(false))
	case !known:
		l.log.WithField("priority", string(e.Priority)).Warn("dropped a notification of an unknown priority")
		l.settle(m.Ack())
	case l.seen.has(id):
		l.settle(m.Ack())
	default:
		return e, id
	}
	return nil, ""
}

// errGoexit is the error for a handler that ended its goroutine.
var errGoexit = errors.New("the handler has ended its goroutine")

// handle calls the endpoints in turn until one of them fails.
func (l *Listener) handle(e *Event) error {
	for i := range l.endpoints {
		if err := l.endpoints[i].handle(l.hard, e); err != nil {
			return err
		}
	}
	return nil
}

// conclude settles an event after its handlers have returned. Only acknowledged events
// are remembered, so that an event that is delivered again is handled again.
func (l *Listener) conclude(m rpc.Incoming, e *Event, id string, err error) {
	if err != nil && err != ErrRequeue {
		l.log.WithError(err).WithField("event_type", e.Type).Error("notification failed")
	}
	if err != nil && (l.options.AllowRequeue || l.hard.Err() != nil) {
		l.settle(m.Reject(true))
		return
	}
	if err := m.Ack(); err != nil {
		l.settle(err)
		return
	}
	l.seen.add(id)
}

// handle skips events that the endpoint does not select. A panic becomes an error, and
// every error that wraps ErrRequeue becomes ErrRequeue itself.
func (n *Endpoint) handle(ctx context.Context, e *Event) error {
	handler := n.Handlers[e.Priority]
	if handler == nil {
		return nil
	}
	return rpc.Guard(func() error {
		if n.Accept != nil && !n.Accept(e) {
			return nil
		}
		err := handler(ctx, e)
		if errors.Is(err, ErrRequeue) {
			return ErrRequeue
		}
		return err
	})
}

// settle logs that an acknowledgement failed; the broker then delivers the event again.
func (l *Listener) settle(err error) {
	if err != nil {
		l.log.WithError(err).Debug("notification could not be settled, it will be delivered again")
	}
}

// window is the number of unique ids that a listener remembers; Python remembers 16.
const window = 1024

// seen remembers the ids of recently acknowledged events, first in, first out.
type seen struct {
	mu    sync.Mutex
	ids   map[string]struct{}
	order [window]string
	next  int
}

func newSeen() *seen { return &seen{ids: make(map[string]struct{}, window)} }

// has reports whether the id is remembered; it is false for an event without an id.
func (s *seen) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.ids[id]
	return found
}

func (s *seen) add(id string) {
	if id == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.ids[id]; known {
		return
	}
	delete(s.ids, s.order[s.next])
	s.ids[id] = struct{}{}
	s.order[s.next] = id
	s.next = (s.next + 1) % window
}
