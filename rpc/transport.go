// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"time"
)

// ErrTimeout is in the chain of the error of a call that got no answer in time.
// oslo.messaging: exceptions.MessagingTimeout
var ErrTimeout = errors.New("timed out waiting for a reply")

// ErrUndeliverable is in the chain of the error of a mandatory message that no
// queue takes. oslo.messaging: exceptions.MessageUndeliverable
var ErrUndeliverable = errors.New("message is not deliverable to any queue")

// ErrDelivery is in the chain of the error of a message that the broker refused
// or that could not be handed to it. oslo.messaging: exceptions.MessageDeliveryFailure
var ErrDelivery = errors.New("message could not be delivered to the broker")

// ErrRefused is in the chain of the error of a message that the broker refuses for
// what the message is, such as one that is too large, and ErrDelivery with it.
// Sending it again makes no sense.
var ErrRefused = errors.New("the broker refuses the message")

// ErrClosed is in the chain of errors of a transport that has been closed.
var ErrClosed = errors.New("transport is closed")

// Transport moves messages between peers. Implementations are safe for
// concurrent use and outlive the loss of a connection: they declare queues and
// consumers again by themselves.
type Transport interface {
	// Listen declares the queues of the server target and calls receive for each
	// message, from several goroutines. It returns when messages can arrive; while
	// the broker is unreachable it waits, until ctx ends. A refusal by the broker
	// that no retry can change (credentials, virtual host, inequivalent queue) is
	// an error at once. receive may block: that is the back-pressure.
	Listen(ctx context.Context, target Target, o ListenOptions, receive func(Incoming)) (Listener, error)
	// Replies returns the transport's one reply queue, declared and consumed. It is
	// made at the first call of Replies and lives as long as the transport.
	Replies(ctx context.Context) (*Replies, error)
	// Send publishes a request to the target and returns when the broker has
	// confirmed it. It retries until ctx ends while the broker is unreachable.
	Send(ctx context.Context, target Target, p Publishing) error
	// Reply publishes to a client's reply queue and returns when the broker has
	// confirmed it. While the queue is missing it tries again, asking body for each
	// attempt, until the transport's own patience or ctx ends, or newer replies take
	// its place; the error then wraps ErrUndeliverable. [LateReplies] does that for a
	// transport. Messages for one queue keep their order.
	Reply(ctx context.Context, queue string, body func() []byte) error
}

// ListenOptions are hints of a server to its transport.
type ListenOptions struct {
	// Concurrency is the number of messages that the server works on at a time; a
	// transport without a prefetch limit of its own derives one from it.
	Concurrency int
}

// Listener is a running consumption.
type Listener interface {
	// Cancel stops deliveries and returns when receive will not be called again.
	// Messages already received can still be acknowledged. It is idempotent.
	Cancel(ctx context.Context) error
	// Close cancels, gives unacknowledged messages back to the broker and removes
	// what belongs to this listener alone. It is idempotent.
	Close(ctx context.Context) error
}

// Acknowledger settles one message with the broker. Its methods fail when the
// message no longer belongs to this consumer, because its connection is gone:
// the broker then delivers it again to somebody.
type Acknowledger interface {
	Ack() error
	Reject(requeue bool) error
}

// Publishing is one message to send.
type Publishing struct {
	Body []byte
	// Expiration is how long the broker may keep the message; 0 means for ever.
	Expiration time.Duration
	// Mandatory asks for an error when no queue takes the message.
	Mandatory bool
	// Headers are AMQP headers beside the transport's own. Peers ignore those that
	// they do not know.
	Headers map[string]string
	// Retry is how many more times a connection to the broker is tried after the first
	// attempt has failed. Nil means until the context ends.
	Retry *int
}

// Binding is a queue that an exchange of the type topic fills.
type Binding struct {
	// Exchange is empty for [DefaultExchange].
	Exchange string
	// Key is the routing key, taken literally.
	Key string
	// Queue outlives its consumers; several bindings may name the same one.
	Queue string
}

// ExchangeName returns the exchange with the default applied.
func (b Binding) ExchangeName() string { return Target{Exchange: b.Exchange}.ExchangeName() }
