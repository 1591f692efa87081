// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Context is the request context of a call: what the caller's to_dict() gave,
// without the _context_ prefix of the wire. Names and values are the services'
// own; values stay raw JSON so that unknown ones pass through unchanged.
type Context map[string]json.RawMessage

// contextNames are the names that the contexts of OpenStack's services have, each
// as the string that all requests can share.
// oslo.context: context.py RequestContext.to_dict; karbor: context.py
var contextNames = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"auth_token", "client_timeout", "domain", "domain_id", "domain_name", "global_request_id", "is_admin",
		"is_admin_project", "kwargs", "overwrite", "project", "project_domain", "project_domain_id",
		"project_domain_name", "project_id", "project_name", "quota_class", "read_deleted", "read_only",
		"remote_address", "request_id", "resource_uuid", "roles", "service_catalog", "service_project_domain",
		"service_project_id", "service_roles", "service_token", "service_user_id", "show_deleted",
		"system_scope", "tenant", "timestamp", "user", "user_auth_plugin", "user_domain", "user_domain_id",
		"user_domain_name", "user_id", "user_identity", "user_name", "auth_token_info",
	} {
		m[name] = name
	}
	return m
}()

// contextName is string(name) without an allocation for a usual name.
func contextName(name []byte) string {
	if shared, ok := contextNames[string(name)]; ok {
		return shared
	}
	return string(name)
}

// append adds the members of the context to an unfinished object, in order.
func (c Context) append(dst []byte) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if name == clientTimeout {
			continue
		}
		value := []byte(c[name])
		if len(value) == 0 {
			value = []byte("null")
		}
		if !validJSON(value) {
			return nil, fmt.Errorf("encoding the request context: %s is not valid JSON", name)
		}
		dst = appendQuoted(append(dst, ", "...), keyContext+name)
		dst = append(append(dst, ": "...), value...)
	}
	return dst, nil
}

// clientTimeout is the key under which a handler finds the caller's call-monitor
// timeout in its context. It is never sent. oslo.messaging: amqpdriver.py
const clientTimeout = "client_timeout"

// Request is one request as a handler sees it.
type Request struct {
	Method    string
	Namespace string
	Version   string
	// Args are the keyword arguments; there are no positional ones.
	Args map[string]json.RawMessage
	// Context includes client_timeout, as in Python; a client drops it again when
	// the context is passed on.
	Context Context
	// UniqueID is fresh for each message and repeated when one is redelivered. It
	// is empty when the sender gave none.
	UniqueID string
	// WantsReply tells a call from a cast.
	WantsReply bool
	// Redelivered says that the broker has delivered the request before.
	Redelivered bool
	// Deadline is when the caller gives up, counted from the arrival of the request;
	// zero for casts and for callers that do not tell. A request that has waited for a
	// worker until then does not run. See [ServerOptions].
	Deadline time.Time
	// Headers are the AMQP headers with values of text, such as traceparent.
	Headers map[string]string

	wire   wireRequest
	accept func()
}

// Accept says that the request of an [UntilAccepted] method is durable with the
// handler: the broker may forget it. It is idempotent, safe for concurrent use
// and without effect for other methods.
func (r *Request) Accept() {
	if r.accept != nil {
		r.accept()
	}
}

// expire reads the caller's timeout off the message's expiration, which a client
// sets on calls alone. oslo.messaging: impl_rabbit.py topic_send
func (r *Request) expire(expiration string, arrived time.Time) {
	if !r.WantsReply || expiration == "" {
		return
	}
	ms, err := strconv.ParseInt(expiration, 10, 64)
	if err == nil && ms > 0 && ms <= maxDeadline.Milliseconds() {
		r.Deadline = arrived.Add(time.Duration(ms) * time.Millisecond)
	}
}

// maxDeadline is a caller's timeout beyond which there is no deadline.
const maxDeadline = 10 * 365 * 24 * time.Hour

// Argument is one keyword argument that a method takes.
type Argument struct {
	name     string
	into     any
	required bool
}

// Required names an argument that a request must have; it is decoded into a
// pointer.
func Required(name string, into any) Argument { return Argument{name, into, true} }

// Optional names an argument that a request may leave out; what into points at is
// then left alone.
func Optional(name string, into any) Argument { return Argument{name, into, false} }

// Unpack decodes the arguments of the request. A missing, an unknown and an
// undecodable one is a TypeError, as it is when a Python method is called.
// Integers that land in an any stay exact, as json.Number.
func (r *Request) Unpack(arguments ...Argument) error {
	known := 0
	for _, a := range arguments {
		value, ok := r.Args[a.name]
		if !ok {
			if a.required {
				return r.typeError("missing 1 required positional argument: '%s'", a.name)
			}
			continue
		}
		known++
		if err := unmarshal(value, a.into); err != nil {
			return r.typeError("argument '%s': %v", a.name, err)
		}
	}
	if known == len(r.Args) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.Args)) {
		if !slices.ContainsFunc(arguments, func(a Argument) bool { return a.name == name }) {
			return r.typeError("got an unexpected keyword argument '%s'", name)
		}
	}
	return nil
}

func (r *Request) typeError(format string, a ...any) error {
	return NewFailure(builtins, "TypeError", r.Method+"() "+fmt.Sprintf(format, a...))
}

// Keys of a request. oslo.messaging: amqpdriver.py, amqp.py, rpc/client.py
const (
	keyMethod    = "method"
	keyArgs      = "args"
	keyNamespace = "namespace"
	keyVersion   = "version"
	keyMsgID     = "_msg_id"
	keyReplyQ    = "_reply_q"
	keyTimeout   = "_timeout"
	keyUniqueID  = "_unique_id"
	keyContext   = "_context_"
)

// wireRequest is what a request carries for the server alone.
type wireRequest struct {
	msgID  string
	replyQ string
	// heartbeat is the interval of call-monitor heartbeats; 0 means none.
	heartbeat time.Duration
	// hasNamespace tells the namespace "" from none.
	hasNamespace bool
	// problem is what makes a readable request unservable; the caller is told.
	problem *Failure
}

// decodeRequest reads a payload. An error means that it is no request at all;
// lesser defects end in the problem of the request.
func decodeRequest(payload []byte) (*Request, error) {
	r := &Request{Version: DefaultVersion}
	var args, method, timeout, answers []byte
	var room [24]member // few contexts have more
	context := room[:0]
	err := eachMember(payload, func(key, value []byte) {
		switch string(key) {
		case keyMethod:
			method = value
		case keyArgs:
			args = value
		case keyNamespace:
			r.wire.readNamespace(r, value)
		case keyVersion:
			r.wire.readVersion(r, value)
		case keyMsgID:
			r.wire.msgID, _ = textOf(value)
		case keyReplyQ:
			answers = value
		case keyTimeout:
			timeout = value
		case keyUniqueID:
			id, _ := textOf(value)
			r.UniqueID = BoundedID(id)
		default:
			if isContext(key) {
				context = append(context, member{key[len(keyContext):], value})
			}
		}
	})
	if err != nil {
		return nil, err
	}
	r.WantsReply = r.wire.msgID != ""
	if err := r.readReplyQueue(answers); err != nil {
		return nil, err
	}
	r.wire.heartbeat = heartbeatInterval(timeout)
	r.readContext(context, timeout)
	var ok bool
	if r.Method, ok = textOf(method); !ok {
		r.wire.reject("TypeError", "method name must be a string")
	}
	if r.Args, ok = members(args); !ok {
		r.wire.reject("AttributeError", "args must be an object")
	}
	return r, nil
}

// errReplyQueue says that a call cannot be answered.
var errReplyQueue = errors.New(keyReplyQ + " of a call is no name of a queue")

// maxQueueName is the longest name of a queue in bytes, by AMQP's short string.
const maxQueueName = 255

// readReplyQueue refuses a call with a reply queue that cannot be: what nobody can
// be told needs no work. None at all is what a caller may have sent.
func (r *Request) readReplyQueue(value []byte) error {
	var ok bool
	if r.wire.replyQ, ok = textOf(value); !r.WantsReply || isNull(value) {
		return nil
	}
	if !ok {
		return fmt.Errorf("%w: not a string", errReplyQueue)
	}
	if n := len(r.wire.replyQ); n > maxQueueName {
		return fmt.Errorf("%w: %d bytes, at most %d", errReplyQueue, n, maxQueueName)
	}
	return nil
}

// replyQueuePrefix begins the name of every reply queue.
// oslo.messaging: amqpdriver.py _get_reply_q
const replyQueuePrefix = "reply_"

// checkReplyQueue refuses a call that wants its answer in a queue of another kind.
func (r *Request) checkReplyQueue() error {
	if !r.WantsReply || r.wire.replyQ == "" || strings.HasPrefix(r.wire.replyQ, replyQueuePrefix) {
		return nil
	}
	return fmt.Errorf("%w of replies: %q does not begin with %s", errReplyQueue, r.wire.replyQ, replyQueuePrefix)
}

func isContext(key []byte) bool {
	return len(key) >= len(keyContext) && string(key[:len(keyContext)]) == keyContext
}

func (w *wireRequest) reject(class, message string) {
	if w.problem == nil {
		w.problem = NewFailure(builtins, class, message)
	}
}

func (w *wireRequest) readNamespace(r *Request, value []byte) {
	if isNull(value) {
		return
	}
	var ok bool
	if r.Namespace, ok = textOf(value); !ok {
		w.reject("TypeError", "namespace must be a string")
	}
	w.hasNamespace = true
}

func (w *wireRequest) readVersion(r *Request, value []byte) {
	if string(value) == `"`+DefaultVersion+`"` {
		return
	}
	// None is what Python prints for a null version in the error that follows.
	if isNull(value) {
		r.Version = "None"
		return
	}
	var ok bool
	if r.Version, ok = textOf(value); !ok {
		w.reject("AttributeError", "version must be a string")
		return
	}
	if _, err := parseVersion(r.Version); err != nil {
		w.reject("ValueError", err.Error())
	}
}

// member is one member of an object.
type member struct{ name, value []byte }

// readContext adds the caller's call-monitor timeout to the context.
func (r *Request) readContext(context []member, timeout []byte) {
	r.Context = make(Context, len(context)+1)
	for _, m := range context {
		r.Context[contextName(m.name)] = m.value
	}
	if timeout == nil {
		timeout = []byte("null")
	}
	r.Context[clientTimeout] = timeout
}

// members reads a JSON object; absent is empty.
func members(value []byte) (map[string]json.RawMessage, bool) {
	m := make(map[string]json.RawMessage)
	if len(value) <= len("{}") && (value == nil || string(value) == "{}") {
		return m, true
	}
	err := eachMember(value, func(key, value []byte) { m[string(key)] = value })
	return m, err == nil
}

// heartbeatInterval is half the whole seconds of a call-monitor timeout, at
// least 1 s; anything else means none. oslo.messaging: rpc/server.py
func heartbeatInterval(timeout []byte) time.Duration {
	if isNull(timeout) {
		return 0
	}
	text := string(timeout)
	if s, ok := textOf(timeout); ok {
		text = s
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 2 || seconds > float64(24*time.Hour/time.Second) {
		return 0
	}
	return time.Duration(int64(seconds)) * time.Second / 2
}
