// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
)

// Drivers makes the drivers that a service's configuration names: messagingv2,
// log, noop, and test for a [Recorder]. oslo.messaging:
// [oslo_messaging_notifications] driver
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

// Log makes the driver that writes each event to a log, at the level of its
// priority. oslo.messaging: notify/_impl_log.py
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

// Recorder is a driver that keeps events for a test to look at. The zero value is
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

// Events are those delivered so far, oldest first.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}
