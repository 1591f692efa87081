// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"net"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

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

// explain turns an error of the transport into one that tells the operator what to do.
func (c *Connection) explain(ctx context.Context, r Request, err error) error {
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
func (c *Connection) where() string {
	if c.target.Server == "" {
		return c.target.Topic
	}
	return c.target.Topic + ", server " + c.target.Server
}

// short returns the reason of a failed dial without the address, which is known.
func short(err error) error {
	var dial *net.OpError
	if errors.As(err, &dial) {
		return dial.Err
	}
	return err
}
