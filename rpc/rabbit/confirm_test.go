// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// never is a confirm that does not come.
func never() *amqp.DeferredConfirmation { return &amqp.DeferredConfirmation{} }

func TestBrokerThatDoesNotConfirmIsGivenUp(t *testing.T) {
	t.Parallel()
	s, ended := watched(t)
	o, err := s.outlet(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- o.confirmed(ctx, never(), time.Millisecond) }()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the broker did not answer while confirming a message") {
		t.Errorf("the connection ended with %v", err)
	}
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ended with %v", err)
	}
}

func TestBrokerThatConfirmsIsKept(t *testing.T) {
	t.Parallel()
	s, ended := watched(t)
	o, err := s.outlet(0)
	if err != nil {
		t.Fatal(err)
	}
	confirm, err := o.ch.PublishWithDeferredConfirm("", "nobody.listens", false, false, amqp.Publishing{})
	if err == nil {
		err = o.confirmed(t.Context(), confirm, time.Hour)
	}
	if err != nil || !confirm.Acked() {
		t.Errorf("%v", err)
	}
	// A blocked broker is no dead one.
	s.block(amqp.Blocking{Active: true, Reason: "test"}, discard())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := o.confirmed(ctx, never(), time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the wait ended with %v", err)
	}
	select {
	case err := <-ended:
		t.Errorf("the connection ended with %v", err)
	default:
	}
}
