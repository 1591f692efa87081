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
	// quarantine is the number of a further channel on which messages are sent again
	// one at a time: a refusal there can only concern that message.
	quarantine = sharedChannels
	// confirmWindow bounds the unconfirmed messages of a shared channel.
	confirmWindow = 256

	// slowConfirm is how long a confirm may take before other messages are spared
	// the channel.
	slowConfirm = 2 * time.Second
	// retirePause is the least time between two replacements of a channel, so that a
	// queue that refuses for long does not cost a channel for each message.
	retirePause = time.Second
	// maxNacks is how often a message is offered to a broker that does not keep it,
	// for 20 s and more. That is longer than a cluster takes to agree on the new leader
	// of a queue, and an end for a queue that is full and refuses.
	maxNacks = 16
)

// errNack means that the broker has taken the message but could not keep it.
var errNack = errors.New("negative confirm")

// channelSeed spreads routing keys over the shared channels of this process.
var channelSeed = maphash.MakeSeed()

// sharedChannel returns the number of the channel for an address.
func sharedChannel(a address) int {
	return int((maphash.String(channelSeed, a.exchange) ^ maphash.String(channelSeed, a.key)) % sharedChannels)
}

// publishChannel is a channel in confirm mode that many goroutines publish on.
// Confirms come in while others publish.
type publishChannel struct {
	session *session
	number  int // of the channel in the session
	window  chan struct{}
	// retired is closed when the session uses another channel in its place.
	retired chan struct{}
	// opened is closed when the channel is open or opening it has failed with failure.
	opened  chan struct{}
	failure error

	ch     *amqp.Channel
	closes chan *amqp.Error
	// returns holds messages that the broker could not route. The broker sends a return
	// before the confirm of the same message, and the library keeps that order, so after
	// the confirm the return is here.
	returns chan amqp.Return
	// slowTimeout and lostTimeout bound the wait for a confirm.
	slowTimeout, lostTimeout sharedTimeout

	mu       sync.Mutex
	returned map[string]struct{} // bodies; each is unique by its _unique_id
	reason   error               // why the broker closed the channel
}

// publishChannel waits for a place on the n-th channel, which is opened when it is
// needed. The caller returns the place with release.
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
			case <-s.ctx.Done():
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

// channelNumber returns the n-th channel, which may not be open yet.
func (s *session) channelNumber(n int) *publishChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.publishing[n]; c != nil && !c.unusable() {
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

// open opens the channel for all callers that wait for it.
func (c *publishChannel) open() {
	defer close(c.opened)
	c.ch, c.failure = c.session.openChannel(c.session.ctx, "opening a channel to publish", func(ch *amqp.Channel) error {
		c.closes = ch.NotifyClose(make(chan *amqp.Error, 1))
		c.returns = ch.NotifyReturn(make(chan amqp.Return, cap(c.window)))
		if err := ch.Confirm(false); err != nil {
			return fmt.Errorf("asking for publisher confirms: %w", err)
		}
		return nil
	})
}

// unusable reports whether the channel is closed or could not be opened.
func (c *publishChannel) unusable() bool {
	select {
	case <-c.opened:
		return c.failure != nil || c.ch.IsClosed()
	default:
		return false
	}
}

// waitForConfirm waits until the confirm of a message is in or ctx ends. A queue that
// has lost the majority of its members confirms nothing. So that messages for other
// queues do not wait for it, they get another channel after slowConfirm; after
// answerTime the channel is closed and its messages are sent again. If the whole
// connection has seen no confirm meanwhile, the connection is given up, because another
// host may work: a node that has lost another node of its cluster can take messages for
// minutes without confirming any, while it still sends heartbeats. Time in which the broker
// blocks the connection does not count.
func (c *publishChannel) waitForConfirm(ctx context.Context, confirm *amqp.DeferredConfirmation, log logrus.FieldLogger) error {
	before, resumed := c.session.confirms.Load(), c.session.resumed.Load()
	for patience, within := &c.slowTimeout, slowConfirm; ; patience, within = &c.lostTimeout, answerTime {
		limit, done := patience.context(context.Background(), within)
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

// closeReason returns the broker's reason for closing the channel.
func (c *publishChannel) closeReason() error {
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

// retire has further messages sent on another channel, after the broker could not keep
// a message of this channel or does not confirm it.
//
// A channel of RabbitMQ remembers the leader of each quorum queue that it publishes to.
// When that was a node that is lost now, the channel refuses every message until the
// node is back, while any other channel of the same connection works for the same
// queue. rabbitmq-server 3.10: rabbit_quorum_queue init/1, rabbit_fifo_client enqueue/3
func (c *publishChannel) retire(log logrus.FieldLogger, why string) {
	if c.session.replace(c) {
		log.Warn(why)
		close(c.retired)
		go c.closeWhenIdle()
	}
}

// replace takes c out of use, unless that has happened already or another channel was
// replaced within retirePause.
func (s *session) replace(c *publishChannel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.publishing[c.number] != c || time.Since(s.retiredAt[c.number]) < retirePause {
		return false
	}
	s.publishing[c.number], s.retiredAt[c.number] = nil, time.Now()
	return true
}

// closeWhenIdle closes a retired channel once all its messages are confirmed.
func (c *publishChannel) closeWhenIdle() {
	for range cap(c.window) {
		select {
		case c.window <- struct{}{}:
		case <-c.session.ctx.Done():
			return
		}
	}
	c.close()
}

// close closes the channel, so that messages without a confirm fail and are sent again.
func (c *publishChannel) close() {
	// A channel that cannot be closed goes with its connection.
	_ = c.session.roundTrip(c.session.ctx, "closing a channel", c.ch.Close)
}

const (
	// firstWindow and lastWindow bound the unconfirmed messages for one address, so
	// that a queue that confirms nothing does not hold up messages for others. A window
	// begins with firstWindow and grows with each confirm up to lastWindow. firstWindow
	// is the number of unconfirmed messages of a quorum queue at which RabbitMQ holds up
	// the connection.
	// rabbitmq-server: quorum_commands_soft_limit, rabbit_fifo_client enqueue/3
	firstWindow = 32
	lastWindow  = 128

	// maxSuspects bounds the addresses whose refusals are remembered.
	maxSuspects = 1000
)

// address is where a message goes.
type address struct{ exchange, key string }

// addressWindow counts the unconfirmed messages for one address. The session's mu
// guards it.
type addressWindow struct {
	size    int
	taken   int             // places in the window
	waiting []chan struct{} // for a place; closed when it is given
}

// acquireWindow waits for a place among the unconfirmed messages for an address, which
// releaseWindow gives back. suspect reports whether messages have been refused there.
func (s *session) acquireWindow(ctx context.Context, a address) (suspect bool, err error) {
	s.mu.Lock()
	w := s.windows[a]
	if w == nil {
		w = &addressWindow{size: firstWindow}
		s.windows[a] = w
	}
	suspect = s.refusedAt[a]
	if w.taken < w.size {
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
	case <-s.ctx.Done():
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
		s.releaseWindow(a, false) // the place was given at the same moment
	}
	return false, err
}

// releaseWindow gives a place back and widens the window after a confirm.
func (s *session) releaseWindow(a address, confirmed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.windows[a]
	w.taken--
	if confirmed {
		w.size = min(w.size+1, lastWindow)
	} else {
		w.size = firstWindow
	}
	for w.taken < w.size && len(w.waiting) > 0 {
		close(w.waiting[0])
		w.waiting = w.waiting[1:]
		w.taken++
	}
	if w.taken == 0 {
		delete(s.windows, a)
	}
}

// recordRefusal remembers whether messages to an address are refused. Such messages are
// then sent on the quarantine channel, where a refusal does not affect others.
func (s *session) recordRefusal(a address, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !refused:
		delete(s.refusedAt, a)
	case len(s.refusedAt) < maxSuspects:
		s.refusedAt[a] = true
	}
}

// limitLasts is how long a learnt limit applies, because operators may raise the limit
// of a running broker.
const limitLasts = time.Minute

// sizeLimit is the size of the largest message that the broker takes, learnt from a
// refusal.
type sizeLimit struct {
	bytes int
	until time.Time
}

// tooLarge matches RabbitMQ's refusal of a message.
// rabbitmq-server: rabbit_channel check_msg_size/3
var tooLarge = regexp.MustCompile(`message size \d+ is larger than (?:configured )?max size (\d+)`)

// learnSizeLimit takes the broker's limit from a refusal.
func (s *session) learnSizeLimit(err error) {
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

// checkSize refuses a message that the broker would refuse, because the broker's refusal
// closes a channel that others use too.
func (s *session) checkSize(m *message) error {
	l := s.limit.Load()
	if l == nil || len(m.Body) <= l.bytes || time.Now().After(l.until) {
		return nil
	}
	return fmt.Errorf("%w: %w: it has %d bytes, and max_message_size of the broker is %d", rpc.ErrDelivery, rpc.ErrRefused, len(m.Body), l.bytes)
}
