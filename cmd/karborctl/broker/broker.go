// SPDX-License-Identifier: Apache-2.0

// Package client sends karborctl's requests to the workers. It finds the message broker
// in karbor.conf, and turns failures on the way into errors that tell the operator what
// to do.
package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
)

// closeTime bounds the orderly end of the connection.
const closeTime = 2 * time.Second

// Request is one request to the workers.
type Request struct {
	Method string
	Args   map[string]any
	// Namespace and Version choose among the endpoints of a worker.
	Namespace, Version string
	// Patient waits for a queue that is missing, because a worker that restarts may
	// take its queue away for a moment.
	Patient bool
}

// Client sends requests of one caller to the workers of a topic. It is safe for
// concurrent use.
type Connection struct {
	transport rpc.Transport
	target    rpc.Target
	timeout   time.Duration
	caller    rpc.Context
	brokers   string // addresses, for messages
	// unreachable returns why no connection to the broker could be made, or nil.
	unreachable func() error
	// stop ends what runs beside the requests.
	stop func()
}

// New makes a client on a transport. brokers are its addresses, for messages.
func New(t rpc.Transport, target rpc.Target, timeout time.Duration, brokers string) *Connection {
	return &Connection{transport: t, target: target, timeout: timeout, brokers: brokers,
		unreachable: func() error { return nil }, stop: func() {}}
}

// watch runs work until Close.
func (c *Connection) watch(work func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { work(ctx) })
	c.stop = func() {
		cancel()
		done.Wait()
	}
}

// As sets the caller of all further requests.
func (c *Connection) As(caller *requestcontext.RequestContext, now time.Time) error {
	members := caller.Encode(now)
	c.caller = make(rpc.Context, len(members))
	for name, value := range members {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encoding %s of the request context: %w", name, err)
		}
		c.caller[name] = text
	}
	return nil
}

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

// Cast sends a request without an answer, to one worker or to all of them.
func (c *Connection) Cast(ctx context.Context, r Request, fanout bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.client(r, fanout).Cast(ctx, c.caller, r.Method, r.Args); err != nil {
		return c.explain(context.WithoutCancel(ctx), r, err)
	}
	return nil
}

// Close ends the connection to the broker.
func (c *Connection) Close() error {
	c.stop()
	closer, ok := c.transport.(interface{ Close(context.Context) error })
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := closer.Close(ctx); err != nil {
		return fmt.Errorf("closing the connection to %s: %w", c.brokers, err)
	}
	return nil
}

// addresses lists the hosts of a URL without its secrets.
func addresses(u *rpc.TransportURL) string {
	var list []string
	for _, host := range u.Brokers() {
		list = append(list, host.Address())
	}
	return strings.Join(list, ", ")
}
