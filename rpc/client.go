// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"
)

// DefaultTimeout is how long a call waits for its answer.
// oslo.messaging: [DEFAULT] rpc_response_timeout
const DefaultTimeout = 60 * time.Second

// ClientOptions tune a client; the zero value is ready for use.
type ClientOptions struct {
	// Timeout bounds the wait for an answer, counted from the publishing; 0 means
	// DefaultTimeout. The broker keeps the request for the same time, or less when the
	// context of the call ends earlier.
	Timeout time.Duration
	// CallMonitorTimeout asks the server for heartbeats and ends a call that has
	// received none for that long. It is rounded to whole seconds and must be at least
	// 2 s: a server sends a heartbeat after half of it, and none at all when that half
	// is less than a second. 0 means no monitoring.
	CallMonitorTimeout time.Duration
	// AtLeastOnce makes Call and Cast fail with ErrUndeliverable at once when no
	// queue takes the request.
	AtLeastOnce bool
	// VersionCap makes the client refuse requests of versions that the cap does not
	// cover; empty allows all.
	VersionCap string
	// Headers returns the AMQP headers of a request that is sent under ctx, such as a
	// traceparent. Servers written in Python ignore them. Nil means none.
	Headers func(ctx context.Context) map[string]string
	Log     logrus.FieldLogger
}

// Client sends requests to a target. It is immutable and safe for concurrent
// use; clients of one transport share its reply queue.
type Client struct {
	transport Transport
	target    Target
	options   ClientOptions
	log       logrus.FieldLogger
}

// NewClient returns a client of the target. It does no I/O.
func NewClient(t Transport, target Target, o ClientOptions) *Client {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	return &Client{transport: t, target: target, options: o, log: OrDiscard(o.Log)}
}

// Prepare returns a copy of the client with a target changed by edit, as Python's
// client.prepare(server=..., version=...) does.
func (c *Client) Prepare(edit func(*Target)) *Client {
	d := *c
	edit(&d.target)
	return &d
}

// With returns a copy of the client with options changed by edit.
func (c *Client) With(edit func(*ClientOptions)) *Client {
	o := c.options
	edit(&o)
	return NewClient(c.transport, c.target, o)
}

// CanSend reports whether the version cap allows requests of a version.
func (c *Client) CanSend(version string) bool {
	if c.options.VersionCap == "" {
		return true
	}
	ok, err := compatible(c.options.VersionCap, version)
	return err == nil && ok
}

// Cast sends a request and returns when the broker has confirmed it. A fanout target
// reaches every server of the topic.
func (c *Client) Cast(ctx context.Context, rc Context, method string, args map[string]any) error {
	o, err := c.prepare(rc, method, args)
	if err != nil {
		return err
	}
	body, err := o.encode()
	if err != nil {
		return err
	}
	err = c.transport.Send(ctx, c.target, Publishing{
		Body: body, Mandatory: c.options.AtLeastOnce && !c.target.Fanout, Headers: c.headers(ctx),
	})
	if err != nil {
		return fmt.Errorf("casting %s to %s: %w", method, c.target, err)
	}
	return nil
}

// Call sends a request, waits for its answer and decodes the answer into result, which
// is a pointer or nil. Integers that are decoded into an any stay exact, as
// json.Number. An exception raised by the server is returned as a [*Failure]; when no
// answer comes in time, the error wraps ErrTimeout.
func (c *Client) Call(ctx context.Context, rc Context, method string, args map[string]any, result any) error {
	if c.target.Fanout {
		return errors.New("rpc: a call cannot be a fanout")
	}
	o, err := c.prepare(rc, method, args)
	if err != nil {
		return err
	}
	if m := c.options.CallMonitorTimeout; m > 0 && m < minMonitor {
		return fmt.Errorf("rpc: CallMonitorTimeout %s of %s is too short: servers send no heartbeats below %s", m, method, minMonitor)
	}
	answer, err := c.exchange(ctx, o)
	if err == nil {
		err = answer.problem
	}
	if err != nil {
		return fmt.Errorf("calling %s of %s: %w", method, c.target, err)
	}
	if answer.failure != nil {
		f, err := decodeFailure(answer.failure)
		if err != nil {
			return fmt.Errorf("calling %s of %s: %w", method, c.target, err)
		}
		return f
	}
	if result == nil || answer.result == nil {
		return nil
	}
	if err := unmarshal(answer.result, result); err != nil {
		return fmt.Errorf("decoding the result of %s: %w", method, err)
	}
	return nil
}

func (c *Client) prepare(rc Context, method string, args map[string]any) (*outgoing, error) {
	if c.target.Topic == "" {
		return nil, errors.New("rpc: a request needs a topic")
	}
	if !c.CanSend(c.target.Version) {
		return nil, fmt.Errorf("rpc: version %q of %s is above the cap %q", c.target.Version, method, c.options.VersionCap)
	}
	return &outgoing{target: c.target, method: method, args: args, context: rc, uniqueID: newID()}, nil
}

func (c *Client) headers(ctx context.Context) map[string]string {
	if c.options.Headers == nil {
		return nil
	}
	return c.options.Headers(ctx)
}

// exchange publishes a call and waits for its answer.
// oslo.messaging: amqpdriver.py _send
func (c *Client) exchange(ctx context.Context, o *outgoing) (reply, error) {
	publishing, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	replies, err := c.transport.Replies(publishing)
	if err != nil {
		return reply{}, c.late(ctx, publishing, err)
	}
	o.wantsReply, o.msgID, o.replyQ, o.monitor = true, newID(), replies.Queue(), c.options.CallMonitorTimeout
	body, err := o.encode()
	if err != nil {
		return reply{}, err
	}
	w, err := replies.add(o.msgID)
	if err != nil {
		return reply{}, err
	}
	defer replies.remove(o.msgID)
	err = c.transport.Send(publishing, c.target, Publishing{
		Body: body, Expiration: c.expiration(ctx), Mandatory: c.options.AtLeastOnce, Headers: c.headers(ctx),
	})
	if err != nil {
		return reply{}, c.late(ctx, publishing, err)
	}
	answer, err := c.await(ctx, w, o.msgID)
	if errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		replies.timedOut()
	}
	return answer, err
}

// minMonitor is the shortest call-monitor timeout. oslo.messaging: rpc/server.py
const minMonitor = 2 * time.Second

// expiration returns how long the caller waits: for its timeout or until ctx ends.
func (c *Client) expiration(ctx context.Context) time.Duration {
	patience := c.options.Timeout
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end))
	}
	return max(patience, time.Millisecond) // less would read as for ever
}

// late turns a publishing error caused by the client's own timeout into a timeout.
func (c *Client) late(ctx, publishing context.Context, err error) error {
	if ctx.Err() == nil && publishing.Err() != nil {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return err
}

// await waits for the end of a call. Heartbeats restart the call monitor but never the
// timeout of the call.
func (c *Client) await(ctx context.Context, w *waiter, msgID string) (reply, error) {
	whole := time.NewTimer(c.options.Timeout)
	defer whole.Stop()
	var quiet <-chan time.Time
	var monitor *time.Timer
	if c.options.CallMonitorTimeout > 0 {
		monitor = time.NewTimer(c.options.CallMonitorTimeout)
		defer monitor.Stop()
		quiet = monitor.C
	}
	for {
		select {
		case answer := <-w.done:
			return answer, nil
		case <-w.alive:
			if monitor != nil {
				monitor.Reset(c.options.CallMonitorTimeout)
			}
		case <-whole.C:
			return reply{}, fmt.Errorf("%w to message ID %s", ErrTimeout, msgID)
		case <-quiet:
			return reply{}, fmt.Errorf("%w to message ID %s: no heartbeat for %s", ErrTimeout, msgID, c.options.CallMonitorTimeout)
		case <-w.lost:
			return reply{}, fmt.Errorf("waiting for a reply: %w", ErrClosed)
		case <-ctx.Done():
			return reply{}, ctx.Err()
		}
	}
}

// outgoing is a request that is about to be sent.
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

// encode returns the message body of the request.
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
