// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

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
		r.wire.fail("TypeError", "method name must be a string")
	}
	if r.Args, ok = members(args); !ok {
		r.wire.fail("AttributeError", "args must be an object")
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

func (w *wireRequest) fail(class, message string) {
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
		w.fail("TypeError", "namespace must be a string")
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
		w.fail("AttributeError", "version must be a string")
		return
	}
	if _, err := parseVersion(r.Version); err != nil {
		w.fail("ValueError", err.Error())
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

// outgoing is a request on its way out.
type outgoing struct {
	target     Target
	method     string
	args       map[string]any
	context    Context
	msgID      string
	replyQ     string
	monitor    time.Duration
	uniqueID   string
	wantsReply bool
}

// encode gives the message body of the request.
func (o *outgoing) encode() ([]byte, error) {
	args := []byte("{}")
	if len(o.args) > 0 {
		var err error
		if args, err = Marshal(o.args); err != nil {
			return nil, fmt.Errorf("encoding the arguments of %s: %w", o.method, err)
		}
	}
	p := make([]byte, 0, 512+len(args))
	p = appendQuoted(append(p, `{"method": `...), o.method)
	p = append(append(p, `, "args": `...), args...)
	if o.target.Namespace != "" {
		p = appendQuoted(append(p, `, "namespace": `...), o.target.Namespace)
	}
	if o.target.Version != "" {
		p = appendQuoted(append(p, `, "version": `...), o.target.Version)
	}
	if o.wantsReply {
		p = appendQuoted(append(p, `, "_msg_id": `...), o.msgID)
		p = appendQuoted(append(p, `, "_reply_q": `...), o.replyQ)
		p = append(p, `, "_timeout": `...)
		if o.monitor > 0 {
			p = strconv.AppendInt(p, int64(o.monitor/time.Second), 10)
		} else {
			p = append(p, "null"...)
		}
	}
	p = appendQuoted(append(p, `, "_unique_id": `...), o.uniqueID)
	p, err := o.context.append(p)
	if err != nil {
		return nil, err
	}
	p = append(p, '}')
	if !utf8.Valid(p) {
		return nil, errors.New("encoding " + o.method + ": text is not valid UTF-8")
	}
	return appendEnvelope(make([]byte, 0, len(p)+len(p)/4+64), p), nil
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

// newID is a random UUID4 as 32 hexadecimal digits.
func newID() string { return string(appendID(make([]byte, 0, 32))) }

func appendID(dst []byte) []byte {
	var b [16]byte
	// crypto/rand.Read never fails.
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return hex.AppendEncode(dst, b[:])
}

// maxID is the length of the longest id that is kept as it is.
const maxID = 64

// BoundedID is the unique id of a message as a receiver keeps it: one that is longer
// than ids are is replaced by its hash, because many are remembered for long.
func BoundedID(id string) string {
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// NewID makes the hex32 ids of messages and of transient queue names.
func NewID() string { return newID() }
