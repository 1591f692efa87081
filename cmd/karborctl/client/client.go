// SPDX-License-Identifier: Apache-2.0

// Package client sends karborctl's requests to the workers. It finds the message broker
// in karbor.conf, and turns failures on the way into errors that tell the operator what
// to do.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
)

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
type Client struct {
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
func New(t rpc.Transport, target rpc.Target, timeout time.Duration, brokers string) *Client {
	return &Client{transport: t, target: target, timeout: timeout, brokers: brokers,
		unreachable: func() error { return nil }, stop: func() {}}
}

// watch runs work until Close.
func (c *Client) watch(work func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { work(ctx) })
	c.stop = func() {
		cancel()
		done.Wait()
	}
}

// As sets the caller of all further requests.
func (c *Client) As(caller *requestcontext.RequestContext, now time.Time) error {
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

func (c *Client) client(r Request, fanout bool) *rpc.Client {
	target := c.target
	target.Namespace, target.Version, target.Fanout = r.Namespace, r.Version, fanout
	if fanout {
		target.Server = ""
	}
	return rpc.NewClient(c.transport, target, rpc.ClientOptions{Timeout: c.timeout, AtLeastOnce: !r.Patient})
}

// Call returns the result of a request as the worker sent it. The error is a
// *rpc.Failure, a *NoAnswer, or the end of ctx.
func (c *Client) Call(ctx context.Context, r Request) (json.RawMessage, error) {
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
func (c *Client) Cast(ctx context.Context, r Request, fanout bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.client(r, fanout).Cast(ctx, c.caller, r.Method, r.Args); err != nil {
		return c.explain(context.WithoutCancel(ctx), r, err)
	}
	return nil
}

// Close ends the connection to the broker.
func (c *Client) Close() error {
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

// explain turns an error of the transport into one that tells the operator what to do.
func (c *Client) explain(ctx context.Context, r Request, err error) error {
	var failure *rpc.Failure
	if errors.As(err, &failure) {
		return failure
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := fmt.Sprintf("%s at %s: %v", r.Method, c.brokers, err)
	why := c.unreachable()
	var refused *amqp.Error
	switch {
	case errors.Is(err, rpc.ErrUndeliverable):
		text = fmt.Sprintf("no worker listens on topic %s (exchange %s) at %s; is karbor-protection running, and is this its protection_topic (--topic)?",
			c.where(), c.target.ExchangeName(), c.brokers)
	case why != nil && !errors.As(err, &refused):
		text = fmt.Sprintf("the message broker at %s did not answer within %s: %v; is it running, and is the address right (--url, transport_url)?",
			c.brokers, c.timeout, short(why))
	case errors.Is(err, rpc.ErrTimeout):
		text = fmt.Sprintf("no answer to %s within %s; is a worker running that listens on topic %s at %s? It may still do what was asked",
			r.Method, c.timeout, c.where(), c.brokers)
	case errors.As(err, &refused) && refused.Code == amqp.PreconditionFailed:
		text = fmt.Sprintf("the message broker at %s refuses: %s; are the options of [oslo_messaging_rabbit] those of the workers (--config-file)?",
			c.brokers, refused.Reason)
	case errors.As(err, &refused):
		text = fmt.Sprintf("the message broker at %s refuses: %s; are the user, the password and the virtual host right (--url, transport_url)?",
			c.brokers, refused.Reason)
	}
	return &NoAnswer{text: text, cause: err}
}

// where names the topic, and the server if one was asked for.
func (c *Client) where() string {
	if c.target.Server == "" {
		return c.target.Topic
	}
	return c.target.Topic + ", server " + c.target.Server
}

// closeTime bounds the orderly end of the connection.
const closeTime = 2 * time.Second

// addresses lists the hosts of a URL without its secrets.
func addresses(u *rpc.TransportURL) string {
	var list []string
	for _, host := range u.Brokers() {
		list = append(list, host.Address())
	}
	return strings.Join(list, ", ")
}

// NoAnswer is the error of a request that no worker has answered: no worker listens, or
// the broker is away or refuses the request. Its text tells the operator what to check.
type NoAnswer struct {
	text  string
	cause error
}

// Error returns one line without secrets.
func (e *NoAnswer) Error() string { return e.text }

// Unwrap returns the error of the transport.
func (e *NoAnswer) Unwrap() error { return e.cause }

// short returns the reason of a failed dial without the address, which is known.
func short(err error) error {
	var dial *net.OpError
	if errors.As(err, &dial) {
		return dial.Err
	}
	return err
}
