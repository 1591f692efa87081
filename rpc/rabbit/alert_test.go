// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"io"
	"net"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// scripted reads what the test says.
type scripted struct {
	net.Conn
	err error
}

func (s scripted) Read([]byte) (int, error) { return 0, s.err }

func TestEndOfAHandshakeIsExplained(t *testing.T) {
	t.Parallel()
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	refused := &amqp.Error{Code: amqp.AccessRefused, Reason: "no"}
	for _, c := range []struct {
		err, read error
		told      bool
	}{
		{amqp.ErrClosed, alert, true},
		{refused, alert, true},
		{amqp.ErrClosed, io.EOF, true},
		{amqp.ErrClosed, net.ErrClosed, false}, // it is we who closed
		{refused, io.EOF, false},               // the reason is known
	} {
		a := newTLSAlertConn(scripted{err: c.read})
		_, _ = a.Read(nil)
		got := a.explain(c.err)
		if !errors.Is(got, c.err) || errors.Is(got, c.read) != c.told {
			t.Errorf("%v after %v: %v", c.err, c.read, got)
		}
	}
}
