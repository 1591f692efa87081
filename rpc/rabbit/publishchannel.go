// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
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

// limitLasts is how long a limit is believed in: operators raise it while the
// connection lives.
const limitLasts = time.Minute

// sizeLimit is the largest message that the broker takes, as its refusals tell.
type sizeLimit struct {
	bytes int
	until time.Time
}

// tooLarge matches RabbitMQ's refusal of a message.
// rabbitmq-server: rabbit_channel check_msg_size/3
var tooLarge = regexp.MustCompile(`message size \d+ is larger than (?:configured )?max size (\d+)`)

// learn takes the broker's limit from its refusal of any message.
func (s *session) learn(err error) {
	var e *amqp.Error
	if !errors.As(err, &e) || e.Code != amqp.PreconditionFailed {
		return
	}
	if m := tooLarge.FindStringSubmatch(e.Reason); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			s.limit.Store(&sizeLimit{bytes: n, until: time.Now().Add(limitLasts)})
		}
	}
}

// fits refuses what the broker would: its refusal closes a channel on which others
// publish too.
func (s *session) fits(m *message) error {
	l := s.limit.Load()
	if l == nil || len(m.Body) <= l.bytes || time.Now().After(l.until) {
		return nil
	}
	return fmt.Errorf("%w: %w: it has %d bytes, and max_message_size of the broker is %d", rpc.ErrDelivery, rpc.ErrRefused, len(m.Body), l.bytes)
}
