// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// answerTime bounds one round trip to the broker. A node that has lost the others
// of its cluster can hang in a declaration for as long as it lives, while it goes
// on to send heartbeats: nothing else would tell.
const answerTime = 30 * time.Second

// roundTrip has do talk to the broker and waits until it has, or until ctx or the
// session ends. The library's calls know no context, so do runs in a goroutine of
// its own, which may outlive the caller: by no more than answerTime, after which the
// connection is given up and every call on it ends. do must release what it has made
// when it fails.
func (s *session) roundTrip(ctx context.Context, what string, do func() error) error {
	_, err := await(ctx, s, what, func() (struct{}, error) { return struct{}{}, do() }, nil)
	return err
}

// openChannel opens a channel and has prepare set it up; what says what for. A
// channel that is ready too late for its caller is closed.
func (s *session) openChannel(ctx context.Context, what string, prepare func(*amqp.Channel) error) (*amqp.Channel, error) {
	return await(ctx, s, what, func() (*amqp.Channel, error) {
		ch, err := s.conn.Channel()
		if err != nil {
			return nil, fmt.Errorf("opening a channel: %w", err)
		}
		if err := prepare(ch); err != nil {
			_ = ch.Close()
			return nil, err
		}
		return ch, nil
	}, func(ch *amqp.Channel) { _ = ch.Close() })
}

// await is roundTrip for a do with a result, which discard gets when nobody waits
// for it any more.
func await[T any](ctx context.Context, s *session, what string, do func() (T, error), discard func(T)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer)
	left := make(chan struct{})
	go func() {
		defer s.expectAnswer(what, answerTime)()
		value, err := do()
		select {
		case answers <- answer{value, err}:
		case <-left:
			if err == nil && discard != nil {
				discard(value)
			}
		}
	}()
	defer close(left)
	var none T
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", what, ctx.Err())
	case <-s.life.Done():
		return none, fmt.Errorf("%s: %w", what, amqp.ErrClosed)
	}
}

// expectAnswer gives the connection up when the returned function was not called
// in time, so that another host is tried. Time in which the broker takes no
// messages does not count: it then answers nothing on purpose.
func (s *session) expectAnswer(what string, within time.Duration) (answered func()) {
	done := make(chan struct{})
	go func() {
		timer := time.NewTimer(within)
		defer timer.Stop()
		for resumed := s.resumed.Load(); ; {
			select {
			case <-done:
				return
			case <-s.life.Done():
				return
			case <-timer.C:
			}
			now := s.resumed.Load()
			if !s.isBlocked() && now == resumed {
				s.giveUp(what)
				return
			}
			resumed = now
			timer.Reset(within)
		}
	}()
	return func() { close(done) }
}
