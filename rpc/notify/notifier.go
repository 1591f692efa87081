// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

// Driver delivers events. It must not change them.
type Driver interface {
	Deliver(ctx context.Context, e *Event) error
}

// Options tune a notifier; the zero value is ready for use.
type Options struct {
	// Now and NewID are for tests; nil means the clock and random UUIDs.
	Now   func() time.Time
	NewID func() string
}

// Notifier sends the events of one publisher. It is safe for concurrent use.
type Notifier struct {
	publisherID string
	drivers     []Driver
	options     Options
}

// New returns a notifier. publisherID is usually "service.host". Without a driver
// events are dropped, as with oslo.messaging's driver noop.
func New(publisherID string, o Options, drivers ...Driver) *Notifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	return &Notifier{publisherID: publisherID, drivers: drivers, options: o}
}

// Notify sends an event through every driver and returns when all are done. Only the
// members of the request context that may be published are sent, never a token.
//
// oslo.messaging logs a failed delivery and goes on; here the error is returned,
// and the caller, whose work seldom depends on it, logs it.
func (n *Notifier) Notify(ctx context.Context, rc rpc.Context, p Priority, eventType string, payload any) error {
	p, err := ParsePriority(string(p))
	if err != nil {
		return err
	}
	text, err := rpc.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encoding the payload of %s: %w", eventType, err)
	}
	e := &Event{
		ID: n.options.NewID(), PublisherID: n.publisherID, Type: eventType, Priority: p,
		Payload: text, Time: n.options.Now().UTC().Truncate(time.Microsecond), Context: sanitize(rc),
	}
	var errs []error
	for _, d := range n.drivers {
		if err := d.Deliver(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("notifying %s: %w", eventType, err))
		}
	}
	return errors.Join(errs...)
}

// Audit sends an event of priority audit; see Notify.
func (n *Notifier) Audit(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Audit, eventType, payload)
}

// Debug sends an event of priority debug; see Notify.
func (n *Notifier) Debug(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Debug, eventType, payload)
}

// Info sends an event of priority info; see Notify.
func (n *Notifier) Info(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Info, eventType, payload)
}

// Warn sends an event of priority warn; see Notify.
func (n *Notifier) Warn(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Warn, eventType, payload)
}

// Error sends an event of priority error; see Notify.
func (n *Notifier) Error(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Error, eventType, payload)
}

// Critical sends an event of priority critical; see Notify.
func (n *Notifier) Critical(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Critical, eventType, payload)
}

// Sample sends an event of priority sample, for measurements that may get lost; see
// Notify.
func (n *Notifier) Sample(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Sample, eventType, payload)
}

// Transport is the part of a transport that notifications need. The transports of
// packages rabbit and rpctest implement it.
type Transport interface {
	// Post publishes to the key of the binding and returns when the broker has
	// confirmed the message. It declares the queue of the binding.
	Post(ctx context.Context, to rpc.Binding, p rpc.Publishing) error
	// Subscribe declares the bindings and consumes each of their queues once. Otherwise
	// it works like Listen of rpc.Transport.
	Subscribe(ctx context.Context, from []rpc.Binding, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error)
}

// MessagingOptions tune the driver that publishes on a broker.
type MessagingOptions struct {
	// Exchange scopes the topics; empty means rpc.DefaultExchange.
	Exchange string
	// Topics each receive the event under a unique id of their own; none means
	// DefaultTopic.
	Topics []string
	// Retry is how often publishing is retried while the broker is unreachable: 0 means
	// never; nil and negative mean until the context ends.
	// oslo.messaging: [oslo_messaging_notifications] retry
	Retry *int
}

// messaging is oslo.messaging's driver messagingv2.
type messaging struct {
	transport Transport
	options   MessagingOptions
}

// Messaging returns the driver that publishes events on a broker, as oslo.messaging
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

// bind returns the queue for a topic's events of one priority, bound with its name as
// the key.
func bind(exchange, topic string, p Priority) rpc.Binding {
	key := topic + "." + string(p)
	return rpc.Binding{Exchange: exchange, Key: key, Queue: key}
}

// Drivers returns the drivers named in a service's configuration: messagingv2, log,
// noop, and test for a [Recorder].
// oslo.messaging: [oslo_messaging_notifications] driver
func Drivers(names []string, t Transport, o MessagingOptions, log logrus.FieldLogger) ([]Driver, error) {
	var drivers []Driver
	for _, name := range names {
		switch name {
		case "messagingv2":
			drivers = append(drivers, Messaging(t, o))
		case "log":
			drivers = append(drivers, Log(log))
		case "noop", "":
		case "test":
			drivers = append(drivers, &Recorder{})
		default:
			return nil, fmt.Errorf("notify: driver %q is not known", name)
		}
	}
	return drivers, nil
}

// logging writes events to a log.
type logging struct{ log logrus.FieldLogger }

// Log returns the driver that logs each event at the level of its priority.
// oslo.messaging: notify/_impl_log.py
func Log(log logrus.FieldLogger) Driver { return logging{log} }

// Deliver implements Driver.
func (l logging) Deliver(_ context.Context, e *Event) error {
	log := l.log.WithFields(logrus.Fields{
		"event_type": e.Type, "publisher_id": e.PublisherID, "message_id": e.ID, "payload": string(e.Payload),
	})
	switch e.Priority {
	case Debug:
		log.Debug("notification")
	case Warn:
		log.Warn("notification")
	case Error, Critical:
		log.Error("notification")
	default:
		log.Info("notification")
	}
	return nil
}

// Recorder is a driver that keeps events for inspection by a test. The zero value is
// ready for use.
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

var _ Driver = (*Recorder)(nil)

// Deliver implements Driver.
func (r *Recorder) Deliver(_ context.Context, e *Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
	return nil
}

// Events returns the events delivered so far, oldest first.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// DefaultTopic is the topic of events when none is configured.
// oslo.messaging: [oslo_messaging_notifications] topics
const DefaultTopic = "notifications"
