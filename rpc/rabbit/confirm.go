// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// confirmed waits until the fate of a message is known or ctx ends. A confirm is an
// answer as others are, and bounded as they are: a node that has lost another one of
// its cluster can take messages and confirm none for minutes, while it goes on to
// send heartbeats. The connection is then given up and the message sent to another
// host. Time in which the broker takes no messages does not count.
func (o *outlet) confirmed(ctx context.Context, confirm *amqp.DeferredConfirmation, within time.Duration) error {
	for {
		limit, done := o.patience.of(context.Background(), within)
		select {
		case <-confirm.Done():
			done()
			return nil
		case <-ctx.Done():
			done()
			return ctx.Err()
		case <-limit.Done():
			done()
		}
		// The end of the connection is the end of the wait too.
		if o.session.alive() && !o.session.isBlocked() {
			o.session.giveUp("confirming a message")
		}
	}
}
