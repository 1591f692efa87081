// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
)

// notifyChecks cover notifications, which every transport must support.
var notifyChecks = []check{
	{"Checklist59_EventsWaitForListeners", checkEventWaits},
	{"Checklist59_NoTokenLeaves", checkNoToken},
	{"Checklist60_NotificationOnTheWire", checkNotification},
	{"Checklist60_SeveralTopics", checkTopics},
	{"Checklist61_AcknowledgedAfterTheHandler", checkAckAfter},
	{"Checklist61_RequeueOnlyWhenAllowed", checkRequeue},
	{"Checklist61_OddNotifications", checkOddEvents},
	{"Checklist61_PoolsGetCopies", checkPools},
	{"Checklist61_StopGivesBack", checkListenerStop},
	{"Survive_NotificationHandlersThatBreak", checkBreakingListener},
	{"Hostile_OddNotifications", checkHostileEvents},
}

// watched reports when a consumption has been cancelled.
type watched struct {
	notify.Transport
	cancelled chan struct{}
}

func (w watched) Subscribe(ctx context.Context, from []rpc.Binding, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	l, err := w.Transport.Subscribe(ctx, from, o, receive)
	return watchedListener{l, w.cancelled}, err
}

type watchedListener struct {
	rpc.Listener
	cancelled chan struct{}
}

func (w watchedListener) Cancel(ctx context.Context) error {
	err := w.Listener.Cancel(ctx)
	w.cancelled <- struct{}{}
	return err
}

// into returns a handler that sends its events to a channel.
func into(events chan<- *notify.Event) notify.Handler {
	return func(_ context.Context, e *notify.Event) error { events <- e; return nil }
}

func checkEventWaits(t *testing.T, h *harness) {
	topic := h.target.Topic
	n := h.notifier(notify.Warn, topic)
	rc := rpc.Context{"user_id": json.RawMessage(`"u1"`), "roles": json.RawMessage(`["admin"]`)}
	if err := n.Notify(h.ctx, rc, "warning", "plan.create", map[string]any{"size": 3}); err != nil {
		t.Fatal(err)
	}
	if n := h.Wire.Len(topic + ".warn"); n != 1 {
		t.Fatalf("%d events wait", n)
	}
	events := make(chan *notify.Event, 1)
	h.listen(notify.ListenerOptions{}, notify.Warn, into(events), topic)
	got := wait(t, events, "the event")
	want := &notify.Event{
		ID: got.ID, PublisherID: "svc.host1", Type: "plan.create", Priority: notify.Warn, Payload: json.RawMessage(`{"size":3}`),
		Time: time.Date(2026, 11, 22, 15, 46, 41, 700999000, time.UTC), Context: rc,
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got.ID) != 36 {
		t.Errorf("%s: %s", got.ID, diff)
	}
}

func checkNoToken(t *testing.T, h *harness) {
	n := h.notifier(notify.Info, h.target.Topic)
	rc := rpc.Context{
		"auth_token": json.RawMessage(`"s3cret"`), "auth_token_info": json.RawMessage(`{"token": "s3cret"}`),
		"service_catalog": json.RawMessage(`[]`), "user": json.RawMessage(`"u1"`), "client_timeout": json.RawMessage("5"),
	}
	if err := n.Info(h.ctx, rc, "e", nil); err != nil {
		t.Fatal(err)
	}
	_, got := h.members(h.target.Topic + ".info")
	for _, name := range []string{"message_id", "timestamp", "_unique_id"} {
		delete(got, name)
	}
	if diff := cmp.Diff(map[string]any{
		"publisher_id": "svc.host1", "event_type": "e", "priority": "INFO", "payload": nil, "_context_user": "u1", "_context_auth_token": nil,
	}, got); diff != "" {
		t.Error(diff)
	}
}

func checkNotification(t *testing.T, h *harness) {
	n := h.notifier(notify.Audit, h.target.Topic)
	if err := n.Audit(h.ctx, nil, "e", []int{1}); err != nil {
		t.Fatal(err)
	}
	m, got := h.members(h.target.Topic + ".audit")
	if m.ContentType != rpc.ContentType || m.ContentEncoding != rpc.ContentEncoding || m.DeliveryMode != 2 || m.Expiration != "" || len(m.Headers) > 0 {
		t.Errorf("properties are %+v", m)
	}
	id, _ := got["message_id"].(string)
	unique, _ := got["_unique_id"].(string)
	if len(id) != 36 || len(unique) != 32 {
		t.Errorf("ids are %q and %q", id, unique)
	}
	if diff := cmp.Diff(map[string]any{
		"message_id": id, "publisher_id": "svc.host1", "event_type": "e", "priority": "AUDIT", "payload": []any{1.0},
		"timestamp": "2026-11-22 15:46:41.700999", "_unique_id": unique,
	}, got); diff != "" {
		t.Error(diff)
	}
}

func checkTopics(t *testing.T, h *harness) {
	a, b := h.target.Topic+"a", h.target.Topic+"b"
	if err := h.notifier(notify.Error, a, b).Error(h.ctx, nil, "e", nil); err != nil {
		t.Fatal(err)
	}
	_, first := h.members(a + ".error")
	_, second := h.members(b + ".error")
	if first["message_id"] != second["message_id"] || first["_unique_id"] == second["_unique_id"] {
		t.Errorf("%v\n%v", first, second)
	}
}

func checkAckAfter(t *testing.T, h *harness) {
	topic := h.target.Topic
	h.forget(topic + ".info")
	working, finish := make(chan struct{}), make(chan struct{})
	l := h.listen(notify.ListenerOptions{}, notify.Info, func(ctx context.Context, _ *notify.Event) error {
		close(working)
		<-ctx.Done()
		close(finish)
		return ctx.Err()
	}, topic)
	if err := h.notifier(notify.Info, topic).Info(h.ctx, nil, "e", nil); err != nil {
		t.Fatal(err)
	}
	wait(t, working, "the handler")
	over, cancel := context.WithCancel(h.ctx)
	cancel()
	if err := l.Stop(over); err == nil {
		t.Error("a hard stop without an error")
	}
	wait(t, finish, "the end of the handler")
	events := make(chan *notify.Event, 1)
	h.listen(notify.ListenerOptions{}, notify.Info, into(events), topic)
	wait(t, events, "the event's second coming")
}

func checkRequeue(t *testing.T, h *harness) {
	for name, allowed := range map[string]bool{"a": true, "b": false} {
		topic := h.target.Topic + name
		comings := make(chan int, 4)
		n := 0
		handler := func(context.Context, *notify.Event) error {
			n++
			comings <- n
			switch n {
			case 1:
				return notify.ErrRequeue
			case 2:
				return errors.New("not yet")
			case 3:
				panic("nor now")
			}
			return nil
		}
		if err := h.notifier(notify.Info, topic).Info(h.ctx, nil, "e", nil); err != nil {
			t.Fatal(err)
		}
		h.listen(notify.ListenerOptions{AllowRequeue: allowed, Workers: 1}, notify.Info, handler, topic)
		wait(t, comings, "the event")
		if allowed {
			for range 3 {
				wait(t, comings, "the event again")
			}
		}
		select {
		case <-comings:
			t.Errorf("allowed %v: one time too many", allowed)
		case <-time.After(briefly):
		}
		if n := h.Wire.Len(topic + ".info"); n != 0 {
			t.Errorf("allowed %v: %d events left", allowed, n)
		}
	}
}

func checkOddEvents(t *testing.T, h *harness) {
	topic := h.target.Topic
	events := make(chan *notify.Event, 8)
	h.listen(notify.ListenerOptions{Workers: 1}, notify.Info, into(events), topic)
	queue := topic + ".info"
	h.forget(queue)
	bare := `{"message_id": "m", "publisher_id": "p", "event_type": "v1.event", "priority": "INFO", "payload": {"a": 1},
		"timestamp": "2026-11-22 15:46:41", "_unique_id": "u1", "_context_user": "u"}`
	h.Wire.Put(queue, jsonMessage([]byte("no JSON")))
	h.Wire.Put(queue, jsonMessage(wrapped(`{"priority": "LOUD", "event_type": "unknown priority"}`)))
	h.Wire.Put(queue, jsonMessage([]byte(bare)))
	got := wait(t, events, "the bare event")
	if diff := cmp.Diff(&notify.Event{
		ID: "m", PublisherID: "p", Type: "v1.event", Priority: notify.Info, Payload: json.RawMessage(`{"a": 1}`),
		Time: time.Date(2026, 11, 22, 15, 46, 41, 0, time.UTC), Context: rpc.Context{"user": json.RawMessage(`"u"`)},
	}, got); diff != "" {
		t.Error(diff)
	}
	// With one worker, the second event is handled after the first is acknowledged.
	last := `{"priority": "INFO", "event_type": "last", "timestamp": "never"}`
	h.Wire.Put(queue, jsonMessage([]byte(last)))
	wait(t, events, "the event without an id")
	h.Wire.Put(queue, jsonMessage(wrapped(bare)))
	h.Wire.Put(queue, jsonMessage([]byte(last)))
	if e := wait(t, events, "what follows the repetition"); e.Type != "last" || !e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
	if n := h.Wire.Len(queue); n != 0 {
		t.Errorf("%d messages left", n)
	}
}

func checkPools(t *testing.T, h *harness) {
	a, b, pool := h.target.Topic+"a", h.target.Topic+"b", h.target.Topic+"pool"
	h.forget(pool)
	shared, pooled := make(chan *notify.Event, 4), make(chan *notify.Event, 4)
	h.listen(notify.ListenerOptions{}, notify.Info, into(shared), a, b)
	h.listen(notify.ListenerOptions{Pool: pool}, notify.Info, into(pooled), a, b)
	if err := h.notifier(notify.Info, a, b).Info(h.ctx, nil, "e", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one for each topic
		wait(t, shared, "the event")
		wait(t, pooled, "the pool's copy")
	}
}

func checkListenerStop(t *testing.T, h *harness) {
	topic := h.target.Topic
	working, finish := make(chan struct{}, 3), make(chan struct{})
	watch := watched{h.carrier(h.Server), make(chan struct{}, 1)}
	l := h.listenOn(watch, notify.ListenerOptions{Workers: 1}, notify.Info, func(context.Context, *notify.Event) error {
		working <- struct{}{}
		<-finish
		return nil
	}, topic)
	n := h.notifier(notify.Info, topic)
	for range 3 {
		if err := n.Info(h.ctx, nil, "e", nil); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, working, "the handler")
	stopped := make(chan error, 1)
	go func() { stopped <- l.Stop(h.ctx) }()
	// Events that have not started go back while the first is still being handled.
	wait(t, watch.cancelled, "the end of the consumption")
	h.until("unstarted events have gone back", func() bool { return h.Wire.Len(topic+".info") == 2 })
	close(finish)
	if err := wait(t, stopped, "the stop"); err != nil {
		t.Error(err)
	}
	if n := h.Wire.Len(topic + ".info"); n != 2 {
		t.Errorf("%d events left", n)
	}
}

// matching is an error that panics when it is compared with another.
type matching struct{ error }

func (matching) Is(error) bool { panic("no comparison") }

// A handler that panics counts as failed, and its worker goes on.
func checkBreakingListener(t *testing.T, h *harness) {
	topic := h.target.Topic
	var noFailure *rpc.Failure
	events := make(chan *notify.Event, 8)
	h.listen(notify.ListenerOptions{Workers: 1}, notify.Info, func(_ context.Context, e *notify.Event) error {
		events <- e
		switch e.Type {
		case "nil":
			return noFailure
		case "compare":
			return matching{errors.New("x")}
		case "cycle":
			panic(cyclicMap())
		case "exit":
			runtime.Goexit()
		}
		return nil
	}, topic)
	n := h.notifier(notify.Info, topic)
	for _, kind := range []string{"nil", "compare", "cycle", "exit", "fine"} {
		if err := n.Info(h.ctx, nil, kind, nil); err != nil {
			t.Fatal(err)
		}
		if e := wait(t, events, kind); e.Type != kind {
			t.Errorf("%s instead of %s", e.Type, kind)
		}
	}
	for name, payload := range map[string]any{"cycle": cyclicMap(), "chain": longChain(1 << 20), "bomb": &bomb{}} {
		if err := n.Info(h.ctx, nil, "e", payload); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
}

// Events that are costly to decode or that only Python can read are rejected.
func checkHostileEvents(t *testing.T, h *harness) {
	topic := h.target.Topic
	events := make(chan *notify.Event, 8)
	h.listen(notify.ListenerOptions{Workers: 1}, notify.Info, into(events), topic)
	queue := topic + ".info"
	h.forget(queue)
	bzip2, err := base64.StdEncoding.DecodeString(bzip2Bomb)
	if err != nil {
		t.Fatal(err)
	}
	h.Wire.Put(queue, RawMessage{ContentType: rpc.ContentType, Compression: rpc.CompressionBz2, Body: bzip2})
	h.Wire.Put(queue, jsonMessage(wrapped(`{"priority": "INFO", "event_type": "NaN", "payload": {"load": NaN}}`)))
	h.Wire.Put(queue, jsonMessage(wrapped(`{"priority": "INFO", "event_type": "deep", "payload": `+nestedJSON(10001)+`}`)))
	long := `{"priority": "INFO", "event_type": "long", "_unique_id": "` + strings.Repeat("u", 1<<20) + `"}`
	for range 2 {
		h.Wire.Put(queue, jsonMessage(wrapped(long)))
	}
	h.Wire.Put(queue, jsonMessage(wrapped(`{"priority": "INFO", "event_type": "last", "payload": `+nestedJSON(9000)+`}`)))
	for _, kind := range []string{"long", "last"} {
		if e := wait(t, events, kind); e.Type != kind {
			t.Errorf("%s instead of %s", e.Type, kind)
		}
	}
}
