// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
)

// outcome is how a request ended: an encoded result or an encoded failure.
type outcome struct {
	result  []byte
	failure []byte
}

// null is the JSON text of a null value.
var null = []byte("null")

// encodeReply returns the message body of a reply with a fresh unique id. A reply that
// is not ending and has no content is a heartbeat. The payload is written directly as
// the text of the envelope, with its quotes escaped.
// oslo.messaging: amqpdriver.py _send_reply
func encodeReply(msgID string, o outcome, ending bool) []byte {
	b := make([]byte, 0, replyOverhead+len(o.result)+len(o.result)/4+2*len(o.failure))
	b = append(b, envelopePrefix+`"{\"result\": `...)
	if o.failure == nil && o.result != nil {
		b = appendEscaped(b, o.result)
	} else {
		b = append(b, null...)
	}
	b = append(b, `, \"failure\": `...)
	if o.failure != nil {
		b = appendEscaped(b, appendQuoted(nil, o.failure))
	} else {
		b = append(b, null...)
	}
	if ending {
		b = append(b, `, \"ending\": true, \"_msg_id\": `...)
	} else {
		b = append(b, `, \"ending\": false, \"_msg_id\": `...)
	}
	// The id comes from the client and may contain any character.
	b = appendEscaped(append(b, `\"`...), escaped(msgID))
	b = appendID(append(b, `\", \"_unique_id\": \"`...))
	return append(b, `\"}"}`...)
}

// replyOverhead is a little more than the size of a reply without content.
const replyOverhead = 288

// escaped returns the text as the inside of a JSON string.
func escaped(text string) string {
	for i := range len(text) {
		if !plain[text[i]] {
			return string(appendEscaped(nil, text))
		}
	}
	return text
}

// reply is one message on a reply queue.
type reply struct {
	msgID   string
	result  json.RawMessage
	failure []byte
	ending  bool
	// problem describes why a reply cannot be read although its call is known.
	problem error
}

func decodeReply(payload []byte) (reply, error) {
	var r reply
	var failure []byte
	err := eachMember(payload, func(key, value []byte) {
		switch string(key) {
		case "result":
			if !isNull(value) {
				r.result = value
			}
		case "failure":
			failure = value
		case "ending":
			r.ending = string(value) == "true"
		case keyMsgID:
			r.msgID, _ = textOf(value)
		}
	})
	// Python takes every falsy failure as success.
	if text, ok := textOf(failure); ok && text != "" {
		r.failure = []byte(text)
	} else if len(failure) > 0 && failure[0] == '{' {
		r.failure = failure
	}
	return r, err
}

// Replies is a transport's reply queue and the calls that wait on it. Transports
// make one with NewReplies and feed it with Receive.
type Replies struct {
	queue string
	log   logrus.FieldLogger

	unpacking chan struct{} // one token for each compressed reply that waits

	mu         sync.Mutex
	waiters    map[string]*waiter
	compressed []Incoming // compressed replies, the first of which is being read
	closed     error
	onTimeout  func()
}

// waiter is one call that waits for its answer.
type waiter struct {
	// content holds the content of a two-part reply until its end arrives; it is
	// guarded by Replies.mu.
	content reply
	// done receives the final reply, exactly one.
	done chan reply
	// alive receives a token for each heartbeat; senders never block on it.
	alive chan struct{}
	// lost is closed when the transport closes.
	lost chan struct{}
}

// NewReplies returns the table of calls for the reply queue with that name.
func NewReplies(queue string, log logrus.FieldLogger) *Replies {
	return &Replies{
		queue: queue, log: OrDiscard(log), waiters: make(map[string]*waiter),
		unpacking: make(chan struct{}, minUnpacking),
	}
}

// OnTimeout sets f to be called whenever a call times out, which tells a transport that
// its reply queue may be gone. f must not block.
func (r *Replies) OnTimeout(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onTimeout = f
}

// timedOut tells the transport that a call has timed out.
func (r *Replies) timedOut() {
	r.mu.Lock()
	f := r.onTimeout
	r.mu.Unlock()
	if f != nil {
		f()
	}
}

// Queue returns the name of the reply queue.
func (r *Replies) Queue() string { return r.queue }

// Receive passes a reply to the call that waits for it and drops a reply without such a
// call. It does not acknowledge the message and keeps only its body. It blocks only
// while many compressed replies wait to be decoded.
func (r *Replies) Receive(m Incoming) {
	if !m.isCompressed() {
		r.read(m)
		return
	}
	// Decompressing a few bytes can take seconds, so other replies do not wait for it.
	// Compressed replies keep their order.
	r.unpacking <- struct{}{}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.compressed = append(r.compressed, m); len(r.compressed) == 1 {
		go r.readCompressed(m)
	}
}

// readCompressed decodes compressed replies until none is left.
func (r *Replies) readCompressed(m Incoming) {
	for more := true; more; {
		r.read(m)
		<-r.unpacking
		r.mu.Lock()
		r.compressed = slices.Delete(r.compressed, 0, 1)
		if more = len(r.compressed) > 0; more {
			m = r.compressed[0]
		}
		r.mu.Unlock()
	}
}

func (r *Replies) read(m Incoming) {
	payload, finite, err := m.open(DefaultMaxDecompressed)
	var answer reply
	if err == nil {
		answer, err = decodeReply(payload)
	}
	if err != nil {
		r.log.WithError(err).Warn("dropped an unreadable reply")
		return
	}
	if !finite {
		answer.problem = errNotFinite
	}
	if !r.deliver(answer) {
		r.log.WithField("msg_id", answer.msgID).Debug("dropped a reply that nobody waits for")
	}
}

// deliver passes a reply to its call and reports whether there is one.
func (r *Replies) deliver(answer reply) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiters[answer.msgID]
	if w == nil {
		return false
	}
	if answer.ending {
		delete(r.waiters, answer.msgID)
	}
	w.merge(answer)
	return true
}

// merge joins the parts of a reply: servers before oslo.messaging 4.0 send the content
// first and the end in a second message.
func (w *waiter) merge(r reply) {
	if r.result != nil || r.failure != nil || r.problem != nil {
		w.content = r
	}
	if !r.ending {
		select {
		case w.alive <- struct{}{}:
		default:
		}
		return
	}
	w.done <- w.content
}

// Close ends all waiting calls with the cause.
func (r *Replies) Close(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		return
	}
	r.closed = cause
	for _, w := range r.waiters {
		close(w.lost)
	}
	clear(r.waiters)
}

// add registers a call; it must happen before the request is published.
func (r *Replies) add(msgID string) (*waiter, error) {
	w := &waiter{done: make(chan reply, 1), alive: make(chan struct{}, 1), lost: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		return nil, fmt.Errorf("waiting for a reply: %w", r.closed)
	}
	r.waiters[msgID] = w
	return w, nil
}

func (r *Replies) remove(msgID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiters, msgID)
}
