// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

// watched is a session on a real connection, and what ends it.
func watched(t *testing.T) (*session, <-chan error) {
	t.Helper()
	address := os.Getenv("RABBIT_URL")
	if address == "" {
		t.Skip("RABBIT_URL is not set: this test needs a RabbitMQ")
	}
	u, err := rpc.ParseTransportURL(address)
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	conn, err := newDialer(u, &o, nil).dialAny(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(conn, 1)
	log := logrus.New()
	log.SetOutput(io.Discard)
	ended := make(chan error, 1)
	go func() { ended <- s.watch(t.Context(), log) }()
	t.Cleanup(func() {
		if !conn.IsClosed() {
			_ = conn.Close()
		}
	})
	return s, ended
}

func TestBrokerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	s, ended := watched(t)
	defer s.expectAnswer("declaring", time.Millisecond)()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the broker did not answer while declaring") {
		t.Errorf("the connection ended with %v", err)
	}
}

func TestBrokerThatAnswersIsKept(t *testing.T) {
	t.Parallel()
	s, ended := watched(t)
	s.expectAnswer("declaring", time.Hour)()
	if err := s.control(func(ch *amqp.Channel) error { return ch.Qos(1, 0, false) }); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Errorf("the connection ended with %v", err)
	default:
	}
}

// A broker that takes no messages answers nothing, and is no dead one.
func TestBlockedBrokerIsKept(t *testing.T) {
	t.Parallel()
	s, ended := watched(t)
	log := logrus.New()
	log.SetOutput(io.Discard)
	s.block(amqp.Blocking{Active: true, Reason: "test"}, log)
	answered := s.expectAnswer("declaring", time.Millisecond)
	if err := s.control(func(ch *amqp.Channel) error { return ch.Qos(1, 0, false) }); err != nil {
		t.Error(err)
	}
	answered()
	select {
	case err := <-ended:
		t.Errorf("the connection ended with %v", err)
	default:
	}
}
