// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/karbor-project/karbor/rpc"
)

// Priority is the kind of an event. It is the last part of the routing key.
type Priority string

// The priorities of oslo.messaging: notify/notifier.py
const (
	Audit    Priority = "audit"
	Debug    Priority = "debug"
	Info     Priority = "info"
	Warn     Priority = "warn"
	Error    Priority = "error"
	Critical Priority = "critical"
	Sample   Priority = "sample"
)

// priorities lists all priorities.
var priorities = []Priority{Audit, Debug, Info, Warn, Error, Critical, Sample}

// ParsePriority parses a priority in any case; "warning" is a synonym of Warn.
func ParsePriority(text string) (Priority, error) {
	p := Priority(strings.ToLower(text))
	if p == "warning" {
		p = Warn
	}
	if !slices.Contains(priorities, p) {
		return "", fmt.Errorf("notify: priority %q is not known", text)
	}
	return p, nil
}

// Event is one notification.
type Event struct {
	// ID is a dashed UUID. It stays the same when an event is sent to several topics.
	ID string
	// PublisherID names the sender, usually "service.host".
	PublisherID string
	// Type names the event, such as "plan.create.end".
	Type     string
	Priority Priority
	// Payload is the JSON text with the content of the event.
	Payload json.RawMessage
	// Time is when the event was sent, in UTC with microseconds; zero when the time of
	// a received event cannot be parsed.
	Time time.Time
	// Context is the request context of the sender without its secrets.
	Context rpc.Context
}

// timeLayout is Python's str(datetime) of a naive time in UTC.
const timeLayout = "2006-01-02 15:04:05"

// timestamp omits a zero fraction, as Python does.
func timestamp(t time.Time) string {
	t = t.UTC().Truncate(time.Microsecond)
	if t.Nanosecond() == 0 {
		return t.Format(timeLayout)
	}
	return t.Format(timeLayout + ".000000")
}

// contextPrefix marks the members of the request context.
// oslo.messaging: amqp.py pack_context
const contextPrefix = "_context_"

// wireEvent has the members of an event on the wire, in Python's order. oslo.messaging:
// notify/notifier.py _notify
type wireEvent struct {
	ID          string          `json:"message_id"`
	PublisherID string          `json:"publisher_id"`
	Type        string          `json:"event_type"`
	Priority    string          `json:"priority"`
	Payload     json.RawMessage `json:"payload"`
	Timestamp   string          `json:"timestamp"`
	UniqueID    string          `json:"_unique_id"`
}

// errNotUTF8 is the error for text that every listener would reject.
var errNotUTF8 = errors.New("text is not valid UTF-8")

// encode returns the payload of a message. Each topic gets a message of its own.
func (e *Event) encode(uniqueID string) ([]byte, error) {
	text, err := e.marshal(uniqueID)
	if err == nil && !utf8.Valid(text) { // encoding/json takes raw text as it is
		err = errNotUTF8
	}
	return text, err
}

func (e *Event) marshal(uniqueID string) ([]byte, error) {
	w := wireEvent{
		ID: e.ID, PublisherID: e.PublisherID, Type: e.Type, Priority: strings.ToUpper(string(e.Priority)),
		Payload: e.Payload, Timestamp: timestamp(e.Time), UniqueID: uniqueID,
	}
	text, err := json.Marshal(w)
	if err != nil || len(e.Context) == 0 {
		return text, err
	}
	members := make(map[string]json.RawMessage, len(e.Context))
	for name, value := range e.Context {
		if len(value) == 0 {
			value = json.RawMessage("null")
		}
		members[contextPrefix+name] = value
	}
	context, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	// Both are objects with members: join them.
	return append(append(text[:len(text)-1], ','), context[1:]...), nil
}

// decode decodes the payload of a message. known reports whether the priority is valid.
func decode(payload []byte) (e *Event, uniqueID string, known bool, err error) {
	// Members of wrong types stay empty, so that an event with one is still received.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil {
		return nil, "", false, fmt.Errorf("decoding a notification: %w", err)
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(members[name], &s)
		return s
	}
	e = &Event{
		ID: text("message_id"), PublisherID: text("publisher_id"), Type: text("event_type"),
		Payload: members["payload"], Context: rpc.Context{},
	}
	e.Priority, err = ParsePriority(text("priority"))
	known = err == nil
	if !known {
		e.Priority = Priority(strings.ToLower(text("priority")))
	}
	// A layout without a fraction accepts one.
	if t, err := time.Parse(timeLayout, text("timestamp")); err == nil {
		e.Time = t
	}
	for name, value := range members {
		if short, ok := strings.CutPrefix(name, contextPrefix); ok {
			e.Context[short] = value
		}
	}
	return e, rpc.BoundedID(text("_unique_id")), known, nil
}

// safe lists the members of a request context that may leave the service. It is a list
// of allowed names because a token can hide under any other name.
// oslo.messaging: notify/notifier.py _sanitize_context; oslo.context: context.py
var safe = map[string]bool{
	"user_id": true, "project_id": true, "domain_id": true, "user_domain_id": true, "project_domain_id": true,
	"is_admin": true, "request_id": true, "roles": true, "user_name": true, "project_name": true,
	"domain_name": true, "user_domain_name": true, "project_domain_name": true, "service_user_id": true,
	"service_user_domain_id": true, "service_user_domain_name": true, "service_project_id": true,
	"service_project_name": true, "service_project_domain_id": true, "service_project_domain_name": true,
	"service_roles": true, "global_request_id": true, "system_scope": true,
	// Older names of the members above.
	"user": true, "project": true, "domain": true, "user_domain": true, "project_domain": true,
	"user_identity": true, "tenant": true,
	// Further members of oslo.context's RequestContext.
	"read_only": true, "show_deleted": true, "resource_uuid": true, "is_admin_project": true,
}

// token is sent as null when the context has one: listeners rebuild their context from
// the members and require the name.
const token = "auth_token"

// sanitize returns the members of a request context that may be published.
func sanitize(c rpc.Context) rpc.Context {
	clean := make(rpc.Context, len(c))
	for name, value := range c {
		switch {
		case safe[name]:
			clean[name] = value
		case name == token:
			clean[name] = json.RawMessage("null")
		}
	}
	return clean
}
