// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/rpc"
)

// Driver delivers events somewhere. It must not change them.
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

// New makes a notifier. publisherID is usually "service.host". Without a driver
// events go nowhere, as with oslo.messaging's driver noop.
func New(publisherID string, o Options, drivers ...Driver) *Notifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	return &Notifier{publisherID: publisherID, drivers: drivers, options: o}
}

// Notify sends an event through every driver and returns when all have had it.
// Of the request context only what may be published is sent, and never a token.
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

// Audit sends an event of that priority; see Notify.
func (n *Notifier) Audit(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Audit, eventType, payload)
}

// Debug sends an event of that priority; see Notify.
func (n *Notifier) Debug(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Debug, eventType, payload)
}

// Info sends an event of that priority; see Notify.
func (n *Notifier) Info(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Info, eventType, payload)
}

// Warn sends an event of that priority; see Notify.
func (n *Notifier) Warn(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Warn, eventType, payload)
}

// Error sends an event of that priority; see Notify.
func (n *Notifier) Error(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Error, eventType, payload)
}

// Critical sends an event of that priority; see Notify.
func (n *Notifier) Critical(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Critical, eventType, payload)
}

// Sample sends an event of that priority, for measurements that may get lost; see
// Notify.
func (n *Notifier) Sample(ctx context.Context, rc rpc.Context, eventType string, payload any) error {
	return n.Notify(ctx, rc, Sample, eventType, payload)
}
