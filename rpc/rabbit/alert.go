// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// alertTime bounds the wait for the reason of a failed handshake.
const alertTime = 500 * time.Millisecond

// alerted is a TLS connection that remembers how reading from it ended. With TLS
// 1.3 a broker refuses a client's certificate after the client's handshake: the
// alert is the first thing to be read, and the AMQP library may report in its
// place that writing failed.
type alerted struct {
	net.Conn

	once   sync.Once
	ended  chan struct{}
	reason error
}

func newAlerted(c net.Conn) *alerted { return &alerted{Conn: c, ended: make(chan struct{})} }

// Read implements net.Conn.
func (a *alerted) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if err != nil {
		a.once.Do(func() {
			a.reason = err
			close(a.ended)
		})
	}
	return n, err
}

// explain adds to the error of a handshake what the peer ended the connection
// with: its alert, or whatever end the library reports as no more than a closed
// connection.
func (a *alerted) explain(err error) error {
	timer := time.NewTimer(alertTime)
	defer timer.Stop()
	select {
	case <-a.ended:
	case <-timer.C:
		return err
	}
	// crypto/tls: conn.go, an alert of the peer is an OpError of this name
	var op *net.OpError
	alert := errors.As(a.reason, &op) && op.Op == "remote error"
	if alert || errors.Is(err, amqp.ErrClosed) && !errors.Is(a.reason, net.ErrClosed) {
		return fmt.Errorf("%w: %w", err, a.reason)
	}
	return err
}
