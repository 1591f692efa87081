// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
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
	if err := s.control(t.Context(), func(ch *amqp.Channel) error { return ch.Qos(1, 0, false) }); err != nil {
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
	if err := s.control(t.Context(), func(ch *amqp.Channel) error { return ch.Qos(1, 0, false) }); err != nil {
		t.Error(err)
	}
	answered()
	select {
	case err := <-ended:
		t.Errorf("the connection ended with %v", err)
	default:
	}
}

// hollow is a session without a connection, for calls that the test answers.
func hollow(t *testing.T) *session {
	s := &session{unblockedGate: make(chan struct{})}
	close(s.unblockedGate)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.Cleanup(s.cancel)
	return s
}

// Nobody waits longer for the broker than the own context and the connection last,
// and nothing that comes too late is left behind.
func TestRoundTripIsAbandoned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(s *session, cancel context.CancelFunc)
		want error
	}{
		"context":    {func(_ *session, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"connection": {func(s *session, _ context.CancelFunc) { s.cancel() }, amqp.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hollow(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked, answer, late := make(chan struct{}), make(chan int), make(chan int, 1)
			go func() {
				<-asked
				c.end(s, cancel)
			}()
			_, err := await(ctx, s, "asking", func() (int, error) {
				close(asked)
				return <-answer, nil
			}, func(n int) { late <- n })
			if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "asking: ") {
				t.Errorf("error is %v", err)
			}
			answer <- 7
			if n := <-late; n != 7 {
				t.Errorf("discarded %d", n)
			}
		})
	}
}

func TestRoundTripAnswers(t *testing.T) {
	t.Parallel()
	s, failure := hollow(t), errors.New("no")
	if err := s.roundTrip(t.Context(), "asking", func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("error is %v", err)
	}
	if err := s.roundTrip(t.Context(), "asking", func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// A declaration that takes long goes on for the others when one stops waiting.
func TestDeclarationIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := hollow(t)
		s.declared = make(map[string]*declaration)
		d := &slowly{answers: make(chan error)}
		ensure := func(ctx context.Context) <-chan error {
			result := make(chan error, 1)
			go func() { result <- s.ensure(ctx, d, rpc.OrDiscard(nil)) }()
			synctest.Wait()
			return result
		}
		ctx, cancel := context.WithCancel(t.Context())
		impatient, patient := ensure(ctx), ensure(t.Context())
		cancel()
		if err := <-impatient; !errors.Is(err, context.Canceled) {
			t.Errorf("the impatient one got %v", err)
		}
		failure := errors.New("no")
		d.answers <- failure
		if err := <-patient; !errors.Is(err, failure) {
			t.Errorf("the other one got %v", err)
		}
		// What has failed is tried again, and what has succeeded is not.
		again := ensure(t.Context())
		d.answers <- nil
		if err := <-again; err != nil {
			t.Error(err)
		}
		if err := <-ensure(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// slowly is a declaration that the test answers.
type slowly struct{ answers chan error }

func (*slowly) declarationKey() string { return "slowly" }

func (d *slowly) declare(context.Context, *session, logrus.FieldLogger) error { return <-d.answers }
