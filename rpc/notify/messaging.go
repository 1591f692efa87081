// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/rpc"
)

// Transport is what notifications need of a transport; those of packages rabbit
// and rpctest have it.
type Transport interface {
	// Post publishes to the key of the binding and returns when the broker has the
	// message. The queue of the binding exists from then on.
	Post(ctx context.Context, to rpc.Binding, p rpc.Publishing) error
	// Subscribe makes sure of the bindings and consumes each queue of them once; in
	// everything else it is as Listen of rpc.Transport.
	Subscribe(ctx context.Context, from []rpc.Binding, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error)
}

// DefaultTopic is the topic of events when none is configured.
// oslo.messaging: [oslo_messaging_notifications] topics
const DefaultTopic = "notifications"

// MessagingOptions tune the driver that publishes on a broker.
type MessagingOptions struct {
	// Exchange scopes the topics; empty means rpc.DefaultExchange.
	Exchange string
	// Topics get each event under a unique id of its own; none means DefaultTopic.
	Topics []string
	// Retry is how often a publishing is tried again while the broker is away: 0 is
	// never; nil and negative are as long as the context lasts.
	// oslo.messaging: [oslo_messaging_notifications] retry
	Retry *int
}

// messaging is oslo.messaging's driver messagingv2.
type messaging struct {
	transport Transport
	options   MessagingOptions
}

// Messaging makes the driver that publishes events on a broker, as oslo.messaging
// does with driver = messagingv2.
func Messaging(t Transport, o MessagingOptions) Driver {
	if len(o.Topics) == 0 {
		o.Topics = []string{DefaultTopic}
	}
	return &messaging{transport: t, options: o}
}

// Deliver implements Driver.
func (m *messaging) Deliver(ctx context.Context, e *Event) error {
	var errs []error
	for _, topic := range m.options.Topics {
		payload, err := e.encode(rpc.NewID())
		if err != nil {
			return err
		}
		p := rpc.Publishing{Body: rpc.Envelope(payload), Retry: m.options.Retry}
		to := bind(m.options.Exchange, topic, e.Priority)
		if err := m.transport.Post(ctx, to, p); err != nil {
			errs = append(errs, fmt.Errorf("publishing to %s: %w", to.Key, err))
		}
	}
	return errors.Join(errs...)
}

// bind is the queue of a topic's events of one priority, under its own name.
func bind(exchange, topic string, p Priority) rpc.Binding {
	key := topic + "." + string(p)
	return rpc.Binding{Exchange: exchange, Key: key, Queue: key}
}
