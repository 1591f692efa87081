// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"time"
)

// ErrTimeout is wrapped by the error of a call that got no answer in time.
// oslo.messaging: exceptions.MessagingTimeout
var ErrTimeout = errors.New("timed out waiting for a reply")

// ErrUndeliverable is wrapped by the error of a mandatory message that no queue
// accepts. oslo.messaging: exceptions.MessageUndeliverable
var ErrUndeliverable = errors.New("message is not deliverable to any queue")

// ErrDelivery is wrapped by the error of a message that the broker refused or that
// could not be delivered to the broker. oslo.messaging:
// exceptions.MessageDeliveryFailure
var ErrDelivery = errors.New("message could not be delivered to the broker")

// ErrRefused is wrapped, together with ErrDelivery, by the error of a message that the
// broker refuses because of the message itself, for example its size. Sending it again
// is useless.
var ErrRefused = errors.New("the broker refuses the message")

// ErrClosed is wrapped by the errors of a transport that has been closed.
var ErrClosed = errors.New("transport is closed")

// Transport moves messages between peers. Implementations are safe for concurrent use
// and survive the loss of a connection: they declare queues and consumers again.
type Transport interface {
	// Listen declares the queues of the server target and calls receive for each
	// message, from several goroutines. It returns when messages can arrive; while the
	// broker is unreachable it waits, until ctx ends. A refusal by the broker that no
	// retry can change (credentials, virtual host, inequivalent queue) is an error at
	// once. receive may block, which is the back-pressure.
	Listen(ctx context.Context, target Target, o ListenOptions, receive func(Incoming)) (Listener, error)
	// Replies returns the transport's only reply queue, declared and consumed. The
	// first call of Replies creates it, and it lives as long as the transport.
	Replies(ctx context.Context) (*Replies, error)
	// Send publishes a request to the target and returns when the broker has
	// confirmed it. It retries until ctx ends while the broker is unreachable.
	Send(ctx context.Context, target Target, p Publishing) error
	// Reply publishes to a client's reply queue and returns when the broker has
	// confirmed the message. While the queue is missing, Reply retries and asks body
	// for each attempt, until the transport's time limit is over, ctx ends, or newer
	// replies take its place; the error then wraps ErrUndeliverable. [LateReplies]
	// implements this for a transport. Messages for one queue keep their order.
	Reply(ctx context.Context, queue string, body func() []byte) error
}

// ListenOptions are a server's hints to its transport.
type ListenOptions struct {
	// Concurrency is the number of messages that the server handles at a time; a
	// transport without a prefetch limit of its own derives one from it.
	Concurrency int
}

// Listener is a running consumption.
type Listener interface {
	// Cancel stops deliveries and returns when receive will not be called again.
	// Messages already received can still be acknowledged. It is idempotent.
	Cancel(ctx context.Context) error
	// Close cancels, returns unacknowledged messages to the broker and removes the
	// queues that belong to this listener alone. It is idempotent.
	Close(ctx context.Context) error
}

// Acknowledger settles one message with the broker. Its methods fail when the message
// no longer belongs to this consumer because its connection is gone: the broker then
// delivers the message again, to any consumer.
type Acknowledger interface {
	Ack() error
	Reject(requeue bool) error
}

// Publishing is one message to send.
type Publishing struct {
	Body []byte
	// Expiration is how long the broker may keep the message; 0 means for ever.
	Expiration time.Duration
	// Mandatory requests an error when no queue accepts the message.
	Mandatory bool
	// Headers are additional AMQP headers. Peers ignore unknown ones.
	Headers map[string]string
	// Retry is the number of further attempts to connect after the first has failed.
	// Nil means until the context ends.
	Retry *int
}

// Binding binds a queue to an exchange of the type topic.
type Binding struct {
	// Exchange is empty for [DefaultExchange].
	Exchange string
	// Key is the routing key, taken literally.
	Key string
	// Queue outlives its consumers; several bindings may name the same one.
	Queue string
}

// ExchangeName returns the exchange, or the default if none is set.
func (b Binding) ExchangeName() string { return Target{Exchange: b.Exchange}.ExchangeName() }
