// SPDX-License-Identifier: Apache-2.0

// Package broker is karborctl's way to the workers: it finds the message broker
// in karbor.conf, and turns what can go wrong on the way into errors that say
// what to do.
package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
)

// closeTime bounds the goodbye to the broker.
const closeTime = 2 * time.Second

// Request is one request to the workers. Empty members of the target leave the
// connection's.
type Request struct {
	Method string
	Args   map[string]any
	// Namespace and Version choose among the endpoints of a worker.
	Namespace, Version string
	// Patient waits for a queue that is missing. A worker that restarts may take
	// its queue away for a moment.
	Patient bool
}

// Connection carries requests of one caller to the workers of a topic. It is
// safe for concurrent use.
type Connection struct {
	transport rpc.Transport
	target    rpc.Target
	timeout   time.Duration
	caller    rpc.Context
	brokers   string // addresses, for messages
	// unreachable tells why no connection could be made, or nil.
	unreachable func() error
}

// New makes a connection over a transport that the connection does not close.
// brokers names it in messages.
func New(t rpc.Transport, target rpc.Target, timeout time.Duration, brokers string) *Connection {
	return &Connection{transport: t, target: target, timeout: timeout, brokers: brokers,
		unreachable: func() error { return nil }}
}

// As makes caller the one who asks.
func (c *Connection) As(caller *requestcontext.RequestContext, now time.Time) error {
	members := caller.Encode(now)
	c.caller = make(rpc.Context, len(members))
	for name, value := range members {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode %s of the request context: %w", name, err)
		}
		c.caller[name] = text
	}
	return nil
}

// Topic is where requests go, for messages.
func (c *Connection) Topic() string { return c.target.Topic }

func (c *Connection) client(r Request, fanout bool) *rpc.Client {
	target := c.target
	target.Namespace, target.Version, target.Fanout = r.Namespace, r.Version, fanout
	if fanout {
		target.Server = ""
	}
	return rpc.NewClient(c.transport, target, rpc.ClientOptions{Timeout: c.timeout, AtLeastOnce: !r.Patient})
}

// Call returns the result of a request as the worker sent it. The error is a
// *rpc.Failure, a *NoAnswer, or the end of ctx.
func (c *Connection) Call(ctx context.Context, r Request) (json.RawMessage, error) {
	var result json.RawMessage
	if err := c.client(r, false).Call(ctx, c.caller, r.Method, r.Args, &result); err != nil {
		return nil, c.explain(ctx, r, err)
	}
	if result == nil {
		result = json.RawMessage("null")
	}
	return result, nil
}

// Cast sends a request that nobody answers, to one worker or to all of them.
func (c *Connection) Cast(ctx context.Context, r Request, fanout bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.client(r, fanout).Cast(ctx, c.caller, r.Method, r.Args); err != nil {
		return c.explain(context.WithoutCancel(ctx), r, err)
	}
	return nil
}

// Close ends the connection.
func (c *Connection) Close() error {
	closer, ok := c.transport.(interface{ Close(context.Context) error })
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := closer.Close(ctx); err != nil {
		return fmt.Errorf("close the connection to %s: %w", c.brokers, err)
	}
	return nil
}

// addresses lists the hosts of a URL without what is secret in it.
func addresses(u *rpc.TransportURL) string {
	var list []string
	for _, host := range u.Brokers() {
		list = append(list, host.Address())
	}
	return strings.Join(list, ", ")
}
