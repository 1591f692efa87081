// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// connection is the library's connection together with its socket. The end of the
// socket ends every call on the connection, whatever that call waits for.
type connection struct {
	*amqp.Connection
	socket net.Conn
	gather *gatherer // nil where writes are not gathered
}

// room waits until the connection can take another message.
func (c *connection) room(ctx context.Context) error {
	if c.gather == nil {
		return nil
	}
	return c.gather.room(ctx)
}

// close closes in good order until ctx or closeGrace is over, and then at once.
func (c *connection) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.socket.Close() })()
	// The connection is of no use to anybody any more, however it ends.
	_ = c.Close()
}

// tolerate sets for how long the peer may leave data unacknowledged before the
// kernel ends the connection; 0 leaves that to the kernel.
func (c *connection) tolerate(d time.Duration) {
	if tcp, ok := c.socket.(*net.TCPConn); ok {
		setUserTimeout(tcp, d)
	}
}
