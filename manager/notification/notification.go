// SPDX-License-Identifier: Apache-2.0

// Package notification tells other services about the start and the end of operations, by
// notifications of oslo.messaging.
package notification

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
)

// Group is the configuration group of the options.
const Group = "oslo_messaging_notifications"

// Options are the options of oslo.messaging: notify/notifier.py
func Options() []config.Option {
	return []config.Option{
		{Group: Group, Name: "driver", Kind: config.MultiString, Default: []string{},
			Deprecated: []config.Name{{Group: "DEFAULT", Name: "notification_driver"}},
			Help: "How notifications of operations are sent: messagingv2 (to the broker), log, noop. It may be given more than once. " +
				"Without it none are sent."},
		{Group: Group, Name: "transport_url", Kind: config.String, Default: "", Sample: "transport_url of [DEFAULT]", Secret: true,
			Deprecated: []config.Name{{Group: "rpc_notifier2", Name: "transport_url"}, {Group: "DEFAULT", Name: "notification_transport_url"}},
			Help:       "The message broker of notifications, written as that of [DEFAULT]."},
		{Group: Group, Name: "topics", Kind: config.List, Default: []string{notify.DefaultTopic},
			Deprecated: []config.Name{{Group: "rpc_notifier2", Name: "topics"}, {Group: "DEFAULT", Name: "notification_topics"}},
			Help:       "The topics that each notification is sent to."},
		{Group: Group, Name: "retry", Kind: config.Int, Default: -1,
			Help: "How often a notification that the broker does not take is sent again. 0 means never, -1 as long as it takes; meanwhile others wait, " +
				"and those beyond 1000 are dropped."},
	}
}

// queueSize is the number of events that may wait to be sent. Further events are dropped.
const queueSize = 1000

// Sender sends an event for each change of an operation, in order, as fast as the drivers allow.
// Observe never blocks. It is safe for concurrent use.
type Sender struct {
	notifier *notify.Notifier
	host     string
	log      logrus.FieldLogger
	queue    chan operation.Event
	full     atomic.Bool
	lost     prometheus.Counter

	ctx      context.Context
	cancel   context.CancelFunc
	stopping chan struct{}
	done     chan struct{}
}

var _ prometheus.Collector = (*Sender)(nil)

// FromConfig returns a sender that uses the configured drivers and publishes as publisher.host.
// Without a driver it returns nil, whose methods do nothing.
func FromConfig(cfg *config.Config, publisher, host string, t notify.Transport, log logrus.FieldLogger) (*Sender, error) {
	names := cfg.MultiString(Group, "driver")
	if len(names) == 0 {
		return nil, nil
	}
	o := notify.MessagingOptions{Exchange: cfg.String(config.DefaultGroup, "control_exchange"), Topics: cfg.List(Group, "topics")}
	if retry := cfg.Int(Group, "retry"); retry >= 0 {
		o.Retry = &retry
	}
	drivers, err := notify.Drivers(names, t, o, log)
	if err != nil {
		return nil, fmt.Errorf("option driver in section [%s]: %w", Group, err)
	}
	return New(publisher, host, log, drivers...), nil
}

// New returns a started sender. Stop ends it.
func New(publisher, host string, log logrus.FieldLogger, drivers ...notify.Driver) *Sender {
	s := &Sender{
		notifier: notify.New(publisher+"."+host, notify.Options{}, drivers...), host: host, log: log,
		queue: make(chan operation.Event, queueSize), stopping: make(chan struct{}), done: make(chan struct{}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "karbor_notifications_dropped_total", Help: "Notifications of operations that were not sent.",
		}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s
}

// Observe queues an event to be sent. See operation.Config.
func (s *Sender) Observe(e operation.Event) {
	if s == nil {
		return
	}
	select {
	case s.queue <- e:
		s.full.Store(false)
	default:
		s.lost.Inc()
		if !s.full.Swap(true) {
			s.log.Errorf("notifications are dropped: %d wait to be sent already", queueSize)
		}
	}
}

// Stop sends the queued events until ctx ends, and drops the rest. It is called once, when no
// operation is running any more.
func (s *Sender) Stop(ctx context.Context) {
	if s == nil {
		return
	}
	close(s.stopping)
	defer context.AfterFunc(ctx, s.cancel)()
	<-s.done
	s.cancel()
}

func (s *Sender) run() {
	defer close(s.done)
	for {
		select {
		case e := <-s.queue:
			s.send(e)
		case <-s.stopping:
			if len(s.queue) == 0 {
				return
			}
			s.send(<-s.queue)
		}
	}
}

// send sends one event. Errors are logged only, since nobody waits for a result.
func (s *Sender) send(e operation.Event) {
	step, priority := "start", notify.Info
	switch {
	case e.Outcome == journal.Succeeded:
		step = "end"
	case e.State == journal.Ended:
		step, priority = "error", notify.Error
	}
	name := "karbor." + e.Kind + "." + step
	if err := s.notifier.Notify(s.ctx, contextOf(e.Caller), priority, name, s.payload(e)); err != nil {
		s.lost.Inc()
		s.log.WithField("operation_id", e.ID).Errorf("notification %s is not sent: %s", name, fault.Detail(err))
	}
}

// Payload is the payload of a notification about an operation. Times are in UTC.
type Payload struct {
	OperationID  string     `json:"operation_id"`
	Type         string     `json:"operation_type"`
	Status       string     `json:"status"` // running, succeeded, failed, cancelled
	ProjectID    string     `json:"project_id"`
	ProviderID   string     `json:"provider_id"`
	CheckpointID string     `json:"checkpoint_id"`
	PlanID       string     `json:"plan_id"`
	RecordID     string     `json:"record_id"` // of the restore or verification
	Host         string     `json:"host"`
	CreatedAt    time.Time  `json:"created_at"`
	StartedAt    *time.Time `json:"started_at"` // null if the operation was refused
	EndedAt      *time.Time `json:"ended_at"`
	// Seconds from the acceptance to the end, and bytes moved to and from the bank by the worker
	// that ended the operation.
	Seconds      float64 `json:"duration"`
	BytesWritten int64   `json:"bytes_written"`
	BytesRead    int64   `json:"bytes_read"`
	Reason       string  `json:"reason"` // why the operation failed or was cancelled
}

func (s *Sender) payload(e operation.Event) Payload {
	p := Payload{
		OperationID: e.ID, Type: e.Kind, Status: string(e.State), ProjectID: e.ProjectID, ProviderID: e.ProviderID, CheckpointID: e.CheckpointID,
		PlanID: e.PlanID, RecordID: e.RecordID, Host: s.host, CreatedAt: e.CreatedAt, Reason: e.Reason,
	}
	if !e.StartedAt.IsZero() {
		p.StartedAt = &e.StartedAt
	}
	if e.State == journal.Ended {
		p.Status, p.EndedAt, p.Seconds = string(e.Outcome), &e.EndedAt, e.EndedAt.Sub(e.CreatedAt).Seconds()
		p.BytesWritten, p.BytesRead = e.Written, e.Read
	}
	return p
}

// contextOf returns the request context for a notifier, without secrets.
func contextOf(c *requestcontext.RequestContext) rpc.Context {
	members := rpc.Context{}
	for name, value := range c.Encode(time.Now()) {
		if text, err := json.Marshal(value); err == nil {
			members[name] = text
		}
	}
	return members
}

// Describe implements prometheus.Collector.
func (s *Sender) Describe(out chan<- *prometheus.Desc) { s.lost.Describe(out) }

// Collect implements prometheus.Collector.
func (s *Sender) Collect(out chan<- prometheus.Metric) { s.lost.Collect(out) }
