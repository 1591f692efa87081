// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/notification"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
)

// heard is an event as the Python listener got it.
type heard struct {
	Priority    string         `json:"priority"`
	Ctxt        map[string]any `json:"ctxt"`
	PublisherID string         `json:"publisher_id"`
	EventType   string         `json:"event_type"`
	Payload     any            `json:"payload"`
	Metadata    struct {
		MessageID string `json:"message_id"`
		Timestamp string `json:"timestamp"`
	} `json:"metadata"`
}

func (l *lab) notifier(topics ...string) *notify.Notifier {
	for _, topic := range topics {
		l.clean(topic+".info", topic+".warn", topic+".error")
	}
	return notify.New("go.host", notify.Options{}, notify.Messaging(l.transport(), notify.MessagingOptions{Topics: topics}))
}

func TestChecklist59_PythonHearsGoNotifier(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.topic+"a", l.topic+"b"
	n := l.notifier(a, b)
	rc := rpc.Context{"user_id": json.RawMessage(`"u1"`), "auth_token": json.RawMessage(`"s3cret"`), "auth_token_info": json.RawMessage(`{}`)}
	// Nobody listens yet: the events wait.
	if err := n.Warn(l.ctx, rc, "plan.create.end", map[string]any{"size": 3, "name": "é☃"}); err != nil {
		t.Fatal(err)
	}
	s := l.start("listener.py", l.url, a+","+b, "-")
	var first, second heard
	s.read(&first)
	s.read(&second)
	want := heard{
		Priority: "warn", Ctxt: map[string]any{"user_id": "u1", "auth_token": nil, "client_timeout": nil}, PublisherID: "go.host",
		EventType: "plan.create.end", Payload: map[string]any{"size": 3.0, "name": "é☃"}, Metadata: first.Metadata,
	}
	for _, got := range []heard{first, second} { // one for each topic, of one message id
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if len(first.Metadata.MessageID) != 36 || !strings.Contains(first.Metadata.Timestamp, " ") {
		t.Errorf("%+v", first.Metadata)
	}
	// A requeued event comes again under the same ids.
	if err := notify.New("go.host", notify.Options{}, notify.Messaging(l.transport(), notify.MessagingOptions{Topics: []string{a}})).
		Info(l.ctx, nil, "again", nil); err != nil {
		t.Fatal(err)
	}
	s.read(&first)
	s.read(&second)
	if diff := cmp.Diff(first, second); diff != "" || first.EventType != "again" {
		t.Errorf("%s: %s", first.EventType, diff)
	}
}

func TestChecklist59_PythonPoolHearsGoNotifier(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n := l.notifier(l.topic)
	l.clean(l.topic + "pool")
	s := l.start("listener.py", l.url, l.topic, l.topic+"pool")
	if err := n.Error(l.ctx, nil, "e", []string{"x"}); err != nil {
		t.Fatal(err)
	}
	var got heard
	s.read(&got)
	if got.EventType != "e" || got.Priority != "error" {
		t.Errorf("%+v", got)
	}
}

func TestChecklist61_GoHearsPythonNotifier(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	events := make(chan *notify.Event, 8)
	take := func(_ context.Context, e *notify.Event) error { events <- e; return nil }
	endpoints := []notify.Endpoint{{Handlers: map[notify.Priority]notify.Handler{notify.Info: take, notify.Warn: take}}}
	l.clean(l.topic+".info", l.topic+".warn", l.topic+"pool")
	for _, pool := range []string{"", l.topic + "pool"} {
		listener, err := notify.NewListener(l.transport(), []notify.Source{{Topic: l.topic}}, endpoints, notify.ListenerOptions{Pool: pool})
		if err == nil {
			err = listener.Start(l.ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := listener.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	s := l.start("notifier.py", l.url, l.topic)
	for _, op := range []string{"info", "warn"} {
		s.send(command{Op: op, Method: "py." + op, KW: map[string]any{"n": json.Number("9007199254740993")}, Context: map[string]any{"user_id": "u", "auth_token": "t"}})
		var sent string
		s.read(&sent)
		for range 2 { // the shared queue's listener and the pool's
			select {
			case e := <-events:
				var payload map[string]json.RawMessage
				if err := json.Unmarshal(e.Payload, &payload); err != nil || string(payload["n"]) != "9007199254740993" {
					t.Errorf("payload %s: %v", e.Payload, err)
				}
				if string(e.Priority) != op || e.Type != "py."+op || e.PublisherID != "py.host" || string(e.Context["user_id"]) != `"u"` ||
					len(e.ID) != 36 || time.Since(e.Time).Abs() > time.Hour {
					t.Errorf("%+v", e)
				}
			case <-time.After(soon):
				t.Fatal("no event")
			}
		}
	}
}

// Both run with the same option, since the broker compares declarations.
func TestChecklist59_DurableQueuesBesidePython(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	exchange := "x" + l.topic
	l.clean(l.topic+".info", l.topic+".warn", l.topic+".error")
	n := notify.New("go.host", notify.Options{}, notify.Messaging(l.transport("amqp_durable_queues=true"),
		notify.MessagingOptions{Exchange: exchange, Topics: []string{l.topic}}))
	s := l.start("listener.py", l.url, l.topic, "-", "control_exchange="+exchange, "amqp_durable_queues=true")
	if err := n.Info(l.ctx, nil, "e", nil); err != nil {
		t.Fatal(err)
	}
	var got heard
	s.read(&got)
	if got.EventType != "e" {
		t.Errorf("%+v", got)
	}
}

// What the worker tells of an operation, as a listener of oslo.messaging hears it.
func TestPythonHearsOfOperations(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.clean(l.topic+".info", l.topic+".warn", l.topic+".error")
	s := l.start("listener.py", l.url, l.topic, "-")
	sender := notification.New("karbor-protection", "h", logrus.New(),
		notify.Messaging(l.transport(), notify.MessagingOptions{Topics: []string{l.topic}}))
	created := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	e := operation.Event{
		Entry: journal.Entry{ID: "o1", Kind: "restore", ProviderID: "p1", CheckpointID: "c1", RecordID: "r1", ProjectID: "project",
			State: journal.Running, CreatedAt: created, StartedAt: created.Add(time.Second)},
		Caller: &requestcontext.RequestContext{ProjectID: "project", UserID: "u", RequestID: "req-1", AuthToken: "s3cret"},
	}
	sender.Observe(e)
	e.State, e.Outcome, e.Reason, e.EndedAt, e.Read = journal.Ended, journal.Failed, "the volume é☃ is gone", created.Add(time.Minute), 42
	sender.Observe(e)
	sender.Stop(l.ctx)
	var started, failed heard
	s.read(&started)
	s.read(&failed)
	payload := map[string]any{
		"operation_id": "o1", "operation_type": "restore", "status": "running", "project_id": "project", "provider_id": "p1", "checkpoint_id": "c1",
		"plan_id": "", "record_id": "r1", "host": "h", "created_at": "2026-11-30T12:00:00Z", "started_at": "2026-11-30T12:00:01Z", "ended_at": nil,
		"duration": 0.0, "bytes_written": 0.0, "bytes_read": 0.0, "reason": "",
	}
	want := heard{Priority: "info", Ctxt: started.Ctxt, PublisherID: "karbor-protection.h", EventType: "karbor.restore.start",
		Payload: payload, Metadata: started.Metadata}
	if diff := cmp.Diff(want, started); diff != "" {
		t.Error(diff)
	}
	if c := started.Ctxt; c["request_id"] != "req-1" || c["user_id"] != "u" || c["project_id"] != "project" || c["auth_token"] != nil {
		t.Errorf("%v", c)
	}
	payload["status"], payload["ended_at"], payload["duration"], payload["bytes_read"], payload["reason"] =
		"failed", "2026-11-30T12:01:00Z", 60.0, 42.0, "the volume é☃ is gone"
	want.Priority, want.Ctxt, want.EventType, want.Metadata = "error", failed.Ctxt, "karbor.restore.error", failed.Metadata
	if diff := cmp.Diff(want, failed); diff != "" {
		t.Error(diff)
	}
}
