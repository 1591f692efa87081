// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// wayWindow bounds the unconfirmed messages for one address, so that a queue that
// confirms nothing holds up nobody else. It is the number of messages that a
// quorum queue of RabbitMQ may owe before the broker holds up the whole connection.
// rabbitmq-server: quorum_commands_soft_limit, rabbit_fifo_client enqueue/3
const wayWindow = 32

// maxSuspects bounds the addresses that are remembered for a refusal.
const maxSuspects = 1000

// address is where a message goes.
type address struct{ exchange, key string }

// way is what is under way to one address.
type way struct {
	users  int // messages that have a place or wait for one; session.mu guards it
	places chan struct{}
}

// enter waits for a place on the way to an address, which leave gives back.
// suspect says that messages have been refused there.
func (s *session) enter(ctx context.Context, a address) (w *way, suspect bool, err error) {
	s.mu.Lock()
	if w = s.ways[a]; w == nil {
		w = &way{places: make(chan struct{}, wayWindow)}
		s.ways[a] = w
	}
	w.users++
	suspect = s.suspects[a]
	s.mu.Unlock()
	select {
	case w.places <- struct{}{}:
		return w, suspect, nil
	default:
	}
	select {
	case w.places <- struct{}{}:
		return w, suspect, nil
	case <-s.life.Done():
		err = amqp.ErrClosed
	case <-ctx.Done():
		err = fmt.Errorf("waiting for earlier messages for the same queue to be confirmed: %w", ctx.Err())
	}
	s.forget(a, w)
	return nil, false, err
}

// leave gives a place back.
func (s *session) leave(a address, w *way) {
	<-w.places
	s.forget(a, w)
}

// forget drops a way that nobody uses any more.
func (s *session) forget(a address, w *way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.users--; w.users == 0 {
		delete(s.ways, a)
	}
}

// suspect remembers whether messages to an address are refused: they are then not
// offered where a refusal would hit others.
func (s *session) suspect(a address, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !refused:
		delete(s.suspects, a)
	case len(s.suspects) < maxSuspects:
		s.suspects[a] = true
	}
}
