// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
)

// goldenMessage is a message as oslo.messaging has published it.
type goldenMessage struct {
	Source          string          `json:"source"`
	Exchange        string          `json:"exchange"`
	RoutingKey      string          `json:"routing_key"`
	Mandatory       bool            `json:"mandatory"`
	Expiration      string          `json:"expiration"`
	ContentType     string          `json:"content_type"`
	ContentEncoding string          `json:"content_encoding"`
	DeliveryMode    uint64          `json:"delivery_mode"`
	Priority        uint64          `json:"priority"`
	Enveloped       bool            `json:"enveloped"`
	Message         json.RawMessage `json:"message"`
	Failure         json.RawMessage `json:"failure"`
}

// members are those of the message.
func (g *goldenMessage) members(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(g.Message, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// text is a member that is a string.
func text(m map[string]json.RawMessage, name string) (s string) {
	_ = json.Unmarshal(m[name], &s)
	return s
}

// requestContext is that of the message.
func requestContext(m map[string]json.RawMessage) rpc.Context {
	rc := rpc.Context{}
	for name, value := range m {
		if short, ok := strings.CutPrefix(name, "_context_"); ok {
			rc[short] = value
		}
	}
	return rc
}

// Every golden message that is ours to send is sent by client, server or notifier
// with the same address, properties, envelope and members.
func TestGoldenPublishes(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../testdata/golden-publishes.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []goldenMessage
	if err := json.Unmarshal(file, &all); err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	defer s.serve(s.answer(all))()
	sent := map[string]int{}
	for i := range all {
		g := &all[i]
		m := g.members(t)
		before := len(s.serving.published()) + len(s.calling.published())
		var kind string
		var by *recorder
		switch {
		case !g.Enveloped:
			kind = "of the driver messaging, which is not ours"
		case m["method"] != nil:
			kind, by = "requests", s.calling
			s.request(g, m)
		case m["event_type"] != nil:
			kind, by = "notifications", s.calling
			s.event(g, m)
		case string(m["ending"]) == "true":
			kind, by = "replies", s.serving
			s.call(i, 0)
		default:
			kind, by = "heartbeats", s.serving
			s.call(i, 2*time.Second)
		}
		sent[kind]++
		if by == nil {
			continue
		}
		if len(s.serving.published())+len(s.calling.published()) == before {
			t.Fatalf("message %d: nothing was published", i)
		}
		list := by.published()
		got := list[len(list)-1]
		if kind == "heartbeats" {
			got = list[len(list)-2] // before the reply
		}
		if diff := cmp.Diff(s.shape(g), s.shapeOf(got)); diff != "" {
			t.Errorf("message %d, of %s: %s", i, g.Source, diff)
		}
	}
	want := map[string]int{
		"requests": 42, "replies": 35, "heartbeats": 6, "notifications": 18, "of the driver messaging, which is not ours": 1,
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Error(diff)
	}
}

// answer makes a handler whose answers are those of the golden replies.
func (s *stage) answer(all []goldenMessage) rpc.Handler {
	return func(_ context.Context, r *rpc.Request) (any, error) {
		i, err := strconv.Atoi(string(r.Args["i"]))
		if err != nil {
			return nil, nil // a golden request
		}
		m := all[i].members(s.t)
		if string(m["ending"]) == "false" {
			// Wait for a heartbeat.
			n := len(s.serving.published())
			until(s.t, "a heartbeat", func() bool { return len(s.serving.published()) > n })
			return nil, nil
		}
		if all[i].Failure == nil || string(all[i].Failure) == "null" {
			return m["result"], nil
		}
		var f struct {
			Class, Module, Message string
			TB                     []string
			Args                   []any
			Kwargs                 map[string]any
		}
		if err := json.Unmarshal(all[i].Failure, &f); err != nil {
			s.t.Error(err)
		}
		return nil, &rpc.Failure{Class: f.Class, Module: f.Module, Message: f.Message, Traceback: f.TB, Args: f.Args, Kwargs: f.Kwargs}
	}
}

// call has the server send its answer to message i.
func (s *stage) call(i int, monitor time.Duration) {
	c := rpc.NewClient(s.client, rpc.Target{Exchange: s.exchange, Topic: s.topic}, rpc.ClientOptions{Timeout: soon, CallMonitorTimeout: monitor})
	// A failure is as good as a result.
	_ = c.Call(s.ctx, nil, "m", map[string]any{"i": i}, nil)
}

// request sends a golden request.
func (s *stage) request(g *goldenMessage, m map[string]json.RawMessage) {
	s.t.Helper()
	to := rpc.Target{Exchange: s.exchange, Topic: s.topic, Version: text(m, "version"), Namespace: text(m, "namespace")}
	_, to.Server, _ = strings.Cut(g.RoutingKey, ".")
	to.Fanout = strings.HasSuffix(g.Exchange, "_fanout")
	args := map[string]any{}
	if err := json.Unmarshal(m["args"], &args); err != nil {
		s.t.Fatal(err)
	}
	ms, _ := strconv.Atoi(g.Expiration)
	seconds, _ := strconv.Atoi(string(m["_timeout"]))
	c := rpc.NewClient(s.client, to, rpc.ClientOptions{
		Timeout: time.Duration(ms) * time.Millisecond, CallMonitorTimeout: time.Duration(seconds) * time.Second,
	})
	if text(m, "_msg_id") == "" {
		if err := c.Cast(s.ctx, requestContext(m), text(m, "method"), args); err != nil {
			s.t.Error(err)
		}
		return
	}
	// Most methods are unknown to the server; its answer ends the call.
	_ = c.Call(s.ctx, requestContext(m), text(m, "method"), args, nil)
}

// event sends a golden notification of a context that has a token.
func (s *stage) event(g *goldenMessage, m map[string]json.RawMessage) {
	s.t.Helper()
	topic, priority, _ := strings.Cut(g.RoutingKey, ".")
	s.wire.queues[s.topic+topic+"."+priority] = true
	now, err := time.Parse("2006-01-02 15:04:05", text(m, "timestamp"))
	if err != nil {
		s.t.Fatal(err)
	}
	rc := requestContext(m)
	if len(rc) > 0 {
		rc["auth_token"] = json.RawMessage(`"s3cret"`)
	}
	n := notify.New(text(m, "publisher_id"), notify.Options{
		Now: func() time.Time { return now }, NewID: func() string { return text(m, "message_id") },
	}, notify.Messaging(s.client, notify.MessagingOptions{Exchange: s.exchange, Topics: []string{s.topic + topic}}))
	if err := n.Notify(s.ctx, rc, notify.Priority(priority), text(m, "event_type"), m["payload"]); err != nil {
		s.t.Error(err)
	}
}

// shape is what is compared of a message.
type shape struct {
	Exchange, Key   string
	Mandatory       bool
	Expiration      string
	Type, Encoding  string
	Mode, Priority  uint64
	Headers         int
	Other           []string
	Members         any
	Failure         any
	EnvelopeVersion string
}

func (s *stage) shape(g *goldenMessage) shape {
	return shape{
		Exchange: g.Exchange, Key: randomID.ReplaceAllString(g.RoutingKey, "<id>"), Mandatory: g.Mandatory, Expiration: g.Expiration,
		Type: g.ContentType, Encoding: g.ContentEncoding, Mode: g.DeliveryMode, Priority: g.Priority,
		Members: s.value(g.Message, true), Failure: s.value(g.Failure, false), EnvelopeVersion: "2.0",
	}
}

// value decodes JSON without the ids of one run. The text of a failure is compared
// by its own.
func (s *stage) value(text []byte, message bool) any {
	s.t.Helper()
	if len(text) == 0 {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(randomID.ReplaceAllString(string(text), "<id>")), &v); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	if m, ok := v.(map[string]any); ok && message {
		if _, failed := m["failure"].(string); failed {
			m["failure"] = "compared apart"
		}
	}
	return v
}

func (s *stage) shapeOf(m method) shape {
	s.t.Helper()
	var envelope map[string]string
	if err := json.Unmarshal(m.body, &envelope); err != nil || len(envelope) != 2 {
		s.t.Fatalf("%s: %v", m.body, err)
	}
	message := []byte(envelope["oslo.message"])
	got := shape{
		Exchange: s.golden(m.args["exchange"].(string)), Key: s.golden(m.args["routing_key"].(string)), Mandatory: m.args["mandatory"].(bool),
		Members: s.value(message, true), EnvelopeVersion: envelope["oslo.version"],
	}
	// Topics of notifications carry the prefix of the test.
	got.Key = strings.Replace(got.Key, "karbor-operationenginenotifications.", "notifications.", 1)
	got.Key = strings.Replace(got.Key, "karbor-operationengineextra.", "extra.", 1)
	var members map[string]json.RawMessage
	if err := json.Unmarshal(message, &members); err != nil {
		s.t.Fatal(err)
	}
	if f := text(members, "failure"); f != "" {
		got.Failure = s.value([]byte(f), false)
	}
	for name, value := range m.properties {
		switch name {
		case "content_type":
			got.Type = value.(string)
		case "content_encoding":
			got.Encoding = value.(string)
		case "expiration":
			got.Expiration = value.(string)
		case "delivery_mode":
			got.Mode = value.(uint64)
		case "priority": // absent is 0
			got.Priority = value.(uint64)
		case "headers":
			got.Headers = len(value.(map[string]any))
		default:
			got.Other = append(got.Other, name)
		}
	}
	return got
}
