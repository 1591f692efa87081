// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// firstWindow and lastWindow bound the unconfirmed messages for one address, so
	// that a queue that confirms nothing holds up nobody else: a window begins with
	// the first and grows with each confirm. The first is the number of messages that a
	// quorum queue of RabbitMQ may owe before the broker holds up the connection.
	// rabbitmq-server: quorum_commands_soft_limit, rabbit_fifo_client enqueue/3
	firstWindow = 32
	lastWindow  = 128

	// maxSuspects bounds the addresses that are remembered for a refusal.
	maxSuspects = 1000
)

// address is where a message goes.
type address struct{ exchange, key string }

// way is what is under way to one address. The session's lock guards it.
type way struct {
	window  int
	taken   int             // places in the window
	waiting []chan struct{} // for a place; closed when it is given
}

// enter waits for a place on the way to an address, which leave gives back.
// suspect says that messages have been refused there.
func (s *session) enter(ctx context.Context, a address) (suspect bool, err error) {
	s.mu.Lock()
	w := s.ways[a]
	if w == nil {
		w = &way{window: firstWindow}
		s.ways[a] = w
	}
	suspect = s.suspects[a]
	if w.taken < w.window {
		w.taken++
		s.mu.Unlock()
		return suspect, nil
	}
	place := make(chan struct{})
	w.waiting = append(w.waiting, place)
	s.mu.Unlock()
	select {
	case <-place:
		return suspect, nil
	case <-s.life.Done():
		err = amqp.ErrClosed
	case <-ctx.Done():
		err = fmt.Errorf("waiting for earlier messages for the same queue to be confirmed: %w", ctx.Err())
	}
	s.mu.Lock()
	i := slices.Index(w.waiting, place)
	if i >= 0 {
		w.waiting = slices.Delete(w.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 {
		s.leave(a, false) // the place has come in the same moment
	}
	return false, err
}

// leave gives a place back.
func (s *session) leave(a address, confirmed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.ways[a]
	w.taken--
	if confirmed {
		w.window = min(w.window+1, lastWindow)
	} else {
		w.window = firstWindow
	}
	for w.taken < w.window && len(w.waiting) > 0 {
		close(w.waiting[0])
		w.waiting = w.waiting[1:]
		w.taken++
	}
	if w.taken == 0 {
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
