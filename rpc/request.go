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

// Context is the request context of a call: the caller's to_dict() without the
// _context_ prefix used on the wire. The services define names and values; values stay
// raw JSON so that unknown values pass through unchanged.
type Context map[string]json.RawMessage

// contextNames are the names used by the contexts of OpenStack's services, as strings
// that all requests share.
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

// contextName is string(name) without an allocation for a common name.
func contextName(name []byte) string {
	if shared, ok := contextNames[string(name)]; ok {
		return shared
	}
	return string(name)
}

// append appends the context's members in order to an unfinished object.
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

// Request is one request as passed to a handler.
type Request struct {
	Method    string
	Namespace string
	Version   string
	// Args are the keyword arguments; there are no positional ones.
	Args map[string]json.RawMessage
	// Context includes client_timeout, as in Python; a client drops it again when
	// the context is passed on.
	Context Context
	// UniqueID differs between messages and stays the same when a message is
	// redelivered. It is empty when the sender set none.
	UniqueID string
	// WantsReply distinguishes a call from a cast.
	WantsReply bool
	// Redelivered reports whether the broker has delivered the request before.
	Redelivered bool
	// Deadline is when the caller stops waiting, counted from the arrival of the
	// request; zero for casts and for callers that send no timeout. A request that is
	// still waiting for a worker at its deadline does not run. See [ServerOptions].
	Deadline time.Time
	// Headers are the AMQP headers with text values, such as traceparent.
	Headers map[string]string

	wire   wireRequest
	accept func()
}

// Accept acknowledges the request of an [UntilAccepted] method once the handler has
// stored it durably. Accept is idempotent, safe for concurrent use and without effect
// for other methods.
func (r *Request) Accept() {
	if r.accept != nil {
		r.accept()
	}
}

// expire takes the caller's timeout from the message's expiration, which a client
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

// maxDeadline is the caller's timeout above which no deadline applies.
const maxDeadline = 10 * 365 * 24 * time.Hour

// Argument is one keyword argument that a method takes.
type Argument struct {
	name     string
	into     any
	required bool
}

// Required returns an argument that a request must have; into is a pointer.
func Required(name string, into any) Argument { return Argument{name, into, true} }

// Optional returns an argument that a request may omit; the value that into points at
// is then unchanged.
func Optional(name string, into any) Argument { return Argument{name, into, false} }

// Unpack decodes the arguments of the request. A missing, an unknown or an undecodable
// argument is a TypeError, as in a call of a Python method. Integers that are decoded
// into an any stay exact, as json.Number.
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

// wireRequest is a request with the fields that only the server uses.
type wireRequest struct {
	msgID  string
	replyQ string
	// heartbeat is the interval of call-monitor heartbeats; 0 means none.
	heartbeat time.Duration
	// hasNamespace distinguishes the namespace "" from null.
	hasNamespace bool
	// problem describes why the request cannot be served; the caller receives it.
	problem *Failure
}

// decodeRequest decodes a payload. An error means that the payload is not a request;
// lesser defects are stored in the problem of the request.
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

// errReplyQueue is the error for a call that cannot be answered.
var errReplyQueue = errors.New(keyReplyQ + " of a call is no name of a queue")

// maxQueueName is the longest name of a queue in bytes, by AMQP's short string.
const maxQueueName = 255

// readReplyQueue reads the name of the reply queue and returns an error for an
// impossible name: a call that cannot be answered need not run. A request may also name
// none.
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

// checkReplyQueue returns an error for a call whose reply queue lacks the prefix.
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

// readContext decodes the context and adds the caller's call-monitor timeout.
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

// members decodes a JSON object; absent text is an empty object.
func members(value []byte) (map[string]json.RawMessage, bool) {
	m := make(map[string]json.RawMessage)
	if len(value) <= len("{}") && (value == nil || string(value) == "{}") {
		return m, true
	}
	err := eachMember(value, func(key, value []byte) { m[string(key)] = value })
	return m, err == nil
}

// heartbeatInterval returns half of a call-monitor timeout in whole seconds, at least 1
// s; any other value means no heartbeats. oslo.messaging: rpc/server.py
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
