// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"
)

const (
	// sharedChannels is the number of channels that messages share. Messages for one
	// queue use the same channel and so keep their order.
	sharedChannels = 4
	// quarantine is the channel behind the shared ones, on which one message at a
	// time is offered again: a refusal there is meant for that message.
	quarantine = sharedChannels
	// confirmWindow bounds the unconfirmed messages of a shared channel.
	confirmWindow = 256

	// slowConfirm is how long a confirm may take before other messages are spared
	// the channel.
	slowConfirm = 2 * time.Second
	// retirePause keeps a queue that refuses for long from costing a channel for
	// each message.
	retirePause = time.Second
	// maxNacks is how often a message is offered to a broker that does not keep it,
	// for 20 s and more. That is longer than a cluster takes to agree on the new leader
	// of a queue, and an end for a queue that is full and refuses.
	maxNacks = 16
)

// errNack says that the broker has taken the message and could not keep it.
var errNack = errors.New("negative confirm")

// channelSeed spreads routing keys over the shared channels of this process.
var channelSeed = maphash.MakeSeed()

// sharedChannel is the number of the channel for an address.
func sharedChannel(a address) int {
	return int((maphash.String(channelSeed, a.exchange) ^ maphash.String(channelSeed, a.key)) % sharedChannels)
}

// publishChannel is a channel in confirm mode that many goroutines publish on.
// Confirms come in while others publish.
type publishChannel struct {
	session *session
	number  int // among the session's
	window  chan struct{}
	// retired is closed when the session has begun to use another one in its place.
	retired chan struct{}
	// opened is closed when the channel is open, or cannot be for the reason failure.
	opened  chan struct{}
	failure error

	ch     *amqp.Channel
	closes chan *amqp.Error
	// returns holds what the broker could not route. The broker sends a return
	// before the confirm of the same message, and the library keeps that order, so
	// whoever has seen the confirm finds the return here.
	returns chan amqp.Return
	// slow and lost are the patience with missing confirms.
	slow, lost patience

	mu       sync.Mutex
	returned map[string]struct{} // bodies; each is unique by its _unique_id
	reason   error               // why the broker closed the channel
}

// publishChannel waits for a place on the n-th channel, which is opened when it is
// needed. Whoever gets the place gives it back with release.
func (s *session) publishChannel(ctx context.Context, n int) (*publishChannel, error) {
	for {
		c := s.channelNumber(n)
		select {
		case <-c.opened:
		default:
			select {
			case <-c.opened:
			case <-ctx.Done():
				return nil, fmt.Errorf("opening a channel to publish: %w", ctx.Err())
			}
		}
		if c.failure != nil {
			return nil, c.failure
		}
		select {
		case c.window <- struct{}{}:
		default:
			select {
			case c.window <- struct{}{}:
			case <-c.retired:
				continue
			case <-s.life.Done():
				return nil, amqp.ErrClosed
			case <-ctx.Done():
				return nil, fmt.Errorf("waiting for earlier messages to be confirmed: %w", ctx.Err())
			}
		}
		if c.ch.IsClosed() && s.alive() {
			c.release()
			continue
		}
		return c, nil
	}
}

func (c *publishChannel) release() { <-c.window }

// channelNumber is the n-th channel, which may not be open yet.
func (s *session) channelNumber(n int) *publishChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.publishing[n]; c != nil && !c.over() {
		return c
	}
	window := confirmWindow
	if n == quarantine {
		window = 1
	}
	c := &publishChannel{
		session:  s,
		number:   n,
		window:   make(chan struct{}, window),
		retired:  make(chan struct{}),
		opened:   make(chan struct{}),
		returned: make(map[string]struct{}),
	}
	s.publishing[n] = c
	go c.open()
	return c
}

// open opens the channel for all who wait for it.
func (c *publishChannel) open() {
	defer close(c.opened)
	c.ch, c.failure = c.session.openChannel(c.session.life, "opening a channel to publish", func(ch *amqp.Channel) error {
		c.closes = ch.NotifyClose(make(chan *amqp.Error, 1))
		c.returns = ch.NotifyReturn(make(chan amqp.Return, cap(c.window)))
		if err := ch.Confirm(false); err != nil {
			return fmt.Errorf("asking for publisher confirms: %w", err)
		}
		return nil
	})
}

// over reports whether the channel is of no use any more.
func (c *publishChannel) over() bool {
	select {
	case <-c.opened:
		return c.failure != nil || c.ch.IsClosed()
	default:
		return false
	}
}

// confirmed waits until the fate of a message is known or ctx ends. A queue that has
// lost the majority of its members confirms nothing, which is not for others to
// suffer: they get another channel, and in the end the channel is closed and what it
// holds is sent again. When the whole connection has seen no confirm meanwhile, it is
// given up: a node that has lost another one of its cluster can take messages and
// confirm none for minutes, while it goes on to send heartbeats, and another host may
// do better. Time in which the broker takes no messages does not count.
func (c *publishChannel) confirmed(ctx context.Context, confirm *amqp.DeferredConfirmation, log logrus.FieldLogger) error {
	before, resumed := c.session.confirms.Load(), c.session.resumed.Load()
	for patience, within := &c.slow, slowConfirm; ; patience, within = &c.lost, answerTime {
		limit, done := patience.of(context.Background(), within)
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
		switch {
		case !c.session.alive():
			return amqp.ErrClosed
		case c.session.isBlocked() || c.session.resumed.Load() != resumed:
			resumed = c.session.resumed.Load()
		case within == slowConfirm:
			c.retire(log, "the broker is slow to confirm a message, publishing on another channel")
		case c.session.confirms.Load() == before:
			c.session.giveUp("confirming a message")
		default:
			c.retire(log, "the broker does not confirm a message, publishing on another channel")
			go c.close()
		}
	}
}

// wasReturned reports whether a confirmed mandatory message came back.
func (c *publishChannel) wasReturned(body []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		select {
		case r, ok := <-c.returns:
			if ok {
				c.returned[string(r.Body)] = struct{}{}
				continue
			}
		default:
		}
		break
	}
	_, found := c.returned[string(body)]
	delete(c.returned, string(body))
	return found
}

// closed gives the broker's reason for closing the channel.
func (c *publishChannel) closed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == nil {
		c.reason = amqp.ErrClosed
		// The library delivers the reason before the channel counts as closed for
		// confirms, hence without waiting.
		if e := <-c.closes; e != nil {
			c.reason = e
		}
	}
	return c.reason
}

// retire has further messages sent on another channel, after the broker could not
// keep one of this channel's or does not confirm it.
//
// A channel of RabbitMQ keeps its own idea of each quorum queue that it publishes
// to. One that met the queue when the queue's record still named a lost node as the
// leader goes on to ask that node: it refuses every message for as long as the node
// is away, while any other channel of the same connection, and of the same queue,
// works. rabbitmq-server 3.10: rabbit_quorum_queue init/1, rabbit_fifo_client enqueue/3
func (c *publishChannel) retire(log logrus.FieldLogger, why string) {
	if c.session.replace(c) {
		log.Warn(why)
		close(c.retired)
		go c.end()
	}
}

// replace makes room for another channel in the place of c, unless that has
// happened or did a moment ago.
func (s *session) replace(c *publishChannel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.publishing[c.number] != c || time.Since(s.retiredAt[c.number]) < retirePause {
		return false
	}
	s.publishing[c.number], s.retiredAt[c.number] = nil, time.Now()
	return true
}

// end closes a retired channel once nobody waits for a confirm of it.
func (c *publishChannel) end() {
	for range cap(c.window) {
		select {
		case c.window <- struct{}{}:
		case <-c.session.life.Done():
			return
		}
	}
	c.close()
}

// close makes all that is not confirmed fail, to be sent again.
func (c *publishChannel) close() {
	// A channel that cannot be closed goes with its connection.
	_ = c.session.roundTrip(c.session.life, "closing a channel", c.ch.Close)
}
