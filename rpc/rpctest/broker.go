// SPDX-License-Identifier: Apache-2.0

// Package rpctest has an in-memory transport for tests of services that use
// package rpc, and the conformance suite that every transport passes.
package rpctest

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// RawMessage is a message as a broker sees it.
type RawMessage struct {
	ContentType     string
	ContentEncoding string
	Compression     string
	// DeliveryMode is 2 for persistent messages.
	DeliveryMode uint8
	// Expiration is AMQP's text of milliseconds; empty means never.
	Expiration string
	// Headers are the text headers, without the compression.
	Headers map[string]string
	Body    []byte
}

// Broker is an in-memory message broker. All transports made from one Broker can reach
// each other.
type Broker struct {
	// MaxMessage is the size of the largest body that the broker accepts; 0 means no
	// limit. It must be set before the broker is used.
	MaxMessage int

	mu      sync.Mutex
	queues  map[string]*queue
	fanouts map[string][]string // topic to the names of fanout queues
	routes  map[rpc.Binding]bool
}

// NewBroker returns an empty broker.
func NewBroker() *Broker {
	return &Broker{queues: make(map[string]*queue), fanouts: make(map[string][]string), routes: make(map[rpc.Binding]bool)}
}

// queue holds waiting messages; the consumers hold the messages that are delivered and
// not settled.
type queue struct {
	waiting []*message
	wake    chan struct{} // closed when something changes
	deleted bool
}

type message struct {
	RawMessage
	expires     time.Time // zero: never
	redelivered bool
}

// declare creates the queue unless it exists.
func (b *Broker) declare(name string) {
	if b.queues[name] == nil {
		b.queues[name] = &queue{wake: make(chan struct{})}
	}
}

// Declare makes an empty queue, as another client of the broker would.
func (b *Broker) Declare(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.declare(name)
}

// Delete removes a queue and its messages. Consumers of this broker do not declare the
// queue again.
func (b *Broker) Delete(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[name]; q != nil {
		q.deleted = true
		q.notify()
		delete(b.queues, name)
	}
}

// Len returns the number of messages waiting in a queue.
func (b *Broker) Len(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[name]; q != nil {
		return len(q.waiting)
	}
	return 0
}

// Publish puts a message into a queue and reports whether the queue exists.
func (b *Broker) Publish(name string, m RawMessage) bool {
	raw := &message{RawMessage: m}
	if ms, err := strconv.Atoi(m.Expiration); err == nil {
		raw.expires = time.Now().Add(time.Duration(ms) * time.Millisecond)
	}
	return b.put(name, raw, false)
}

// Get takes a message out of a queue, waiting for one until done is closed.
func (b *Broker) Get(name string, done <-chan struct{}) (RawMessage, bool) {
	if m := b.take(name, done); m != nil {
		return m.RawMessage, true
	}
	return RawMessage{}, false
}

// takes returns an error for a body that exceeds MaxMessage.
func (b *Broker) takes(body []byte) error {
	if b.MaxMessage > 0 && len(body) > b.MaxMessage {
		return fmt.Errorf("%w: %w: it has %d bytes, and the broker takes %d", rpc.ErrDelivery, rpc.ErrRefused, len(body), b.MaxMessage)
	}
	return nil
}

func (b *Broker) put(name string, m *message, front bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[name]
	if q == nil {
		return false
	}
	if front {
		q.waiting = slices.Insert(q.waiting, 0, m)
	} else {
		q.waiting = append(q.waiting, m)
	}
	q.notify()
	return true
}

func (q *queue) notify() {
	close(q.wake)
	q.wake = make(chan struct{})
}

// take removes the first message that has not expired. It returns nil when done
// is closed or the queue is deleted.
func (b *Broker) take(name string, done <-chan struct{}) *message {
	for {
		select {
		case <-done:
			return nil
		default:
		}
		b.mu.Lock()
		q := b.queues[name]
		if q == nil || q.deleted {
			b.mu.Unlock()
			return nil
		}
		for len(q.waiting) > 0 {
			m := q.waiting[0]
			q.waiting = q.waiting[1:]
			if m.expires.IsZero() || time.Now().Before(m.expires) {
				b.mu.Unlock()
				return m
			}
		}
		wake := q.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-done:
			return nil
		}
	}
}

// bind makes a fanout queue of the topic.
func (b *Broker) bind(topic, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.declare(name)
	b.fanouts[topic] = append(b.fanouts[topic], name)
}

func (b *Broker) unbind(topic, name string) {
	b.mu.Lock()
	b.fanouts[topic] = slices.DeleteFunc(b.fanouts[topic], func(n string) bool { return n == name })
	b.mu.Unlock()
	b.Delete(name)
}

func (b *Broker) bound(topic string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.fanouts[topic])
}

// topicQueue returns the name of the queue of a topic or of one server, scoped by
// exchange.
func topicQueue(t rpc.Target) string {
	name := t.ExchangeName() + "/" + t.Topic
	if t.Server != "" {
		name += "." + t.Server
	}
	return name
}

// route declares the queue of a binding and binds it to the exchange.
func (b *Broker) route(to rpc.Binding) {
	to.Exchange = to.ExchangeName()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.declare(to.Queue)
	b.routes[to] = true
}

// routed returns the queues to which a key of an exchange is bound.
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
