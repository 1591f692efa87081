// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

// prefetch bounds the unacknowledged messages that the broker sends ahead to a
// consumer: least at first, and up to most while the workers have all of them.
type prefetch struct{ least, most int }

const (
	// starvedFor is how long the workers must have had all messages of the prefetch
	// before the prefetch is raised. It is also raised when fast workers take that many
	// messages within this time.
	starvedFor = 20 * time.Millisecond
	// busyAfter is how long a message must have waited for a worker before the prefetch
	// is lowered, so that other servers get the rest.
	busyAfter = 50 * time.Millisecond
)

// consumers are the consumers of a subscription on one channel. Declarations use other
// channels, so that their errors do not close this one. Only the goroutine of run makes
// round trips on the channel, because the library cannot tell the answers of concurrent
// requests apart.
type consumers struct {
	*subscription
	session *session
	ch      *amqp.Channel
	closes  <-chan *amqp.Error
	acks    *acks
	byQueue []*consumer // nil where a queue has none
	lastTag int
	ended   chan struct{}  // closed when the consumers are given up
	lost    chan *consumer // whose deliveries have ended
	starved chan *consumer // all of whose messages are in work
	fast    chan *consumer // whose messages are taken as they come
	busy    chan *consumer // whose messages wait for a worker
}

// consumer is one consumer of the broker.
type consumer struct {
	consumers  *consumers
	index      int // of its queue
	tag        string
	prefetch   int
	unsettled  atomic.Int64 // deliveries handed on
	delivering atomic.Bool  // a delivery waits for a worker

	// Only the pump uses these, to see how fast deliveries are taken.
	delivered int
	since     time.Time
}

// consume consumes on one session until its channel ends, and calls recovered once
// every queue has its consumer.
func (s *subscription) consume(session *session, recovered func()) error {
	c := &consumers{
		subscription: s, session: session, byQueue: make([]*consumer, len(s.queues)), ended: make(chan struct{}),
		lost: make(chan *consumer), starved: make(chan *consumer, 1), fast: make(chan *consumer, 1), busy: make(chan *consumer, 1),
	}
	ch, err := session.openChannel(s.cleanup, "opening a channel to consume", func(ch *amqp.Channel) error {
		c.closes = ch.NotifyClose(make(chan *amqp.Error, 1))
		return nil
	})
	if err != nil {
		return err
	}
	c.ch, c.acks = ch, newAcks(ch)
	defer c.end()
	if err := c.start(); err != nil {
		return err
	}
	recovered()
	if !s.hasStarted() {
		close(s.started)
	}
	return c.run()
}

// end closes the channel, which ends the pumps.
func (c *consumers) end() {
	close(c.ended)
	c.consuming.Store(false)
	if c.ch.IsClosed() {
		return
	}
	c.acks.end()
	if err := c.session.roundTrip(c.cleanup, "closing a channel", c.ch.Close); err != nil {
		c.log.WithError(err).Debug("a channel could not be closed in good order")
	}
}

// start declares every queue and consumes it.
func (c *consumers) start() error {
	for i := range c.queues {
		if err := c.declare(i); err != nil {
			return err
		}
	}
	for i := range c.queues {
		if err := c.add(i, c.prefetch.least); err != nil {
			return err
		}
	}
	return c.checkOwnNames()
}

// declare declares a queue. When a subscription starts, a queue with a name of this
// process must have no consumer yet; otherwise another process has the same name.
func (c *consumers) declare(i int) error {
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	q := &c.queues[i]
	q.declared = true
	others, err := q.declareWithBindings(c.cleanup, c.session, c.log)
	if err != nil {
		return err
	}
	if q.ownName && !c.hasStarted() && others > 0 {
		return fmt.Errorf("consuming queue %s: %w", q.name, errNameTaken)
	}
	return nil
}

// checkOwnNames returns errNameTaken when another process has chosen one of the names
// at the same moment.
func (c *consumers) checkOwnNames() error {
	for i := range c.queues {
		q := &c.queues[i]
		if !q.ownName || c.hasStarted() {
			continue
		}
		n, err := q.consumers(c.cleanup, c.session)
		if err != nil {
			return err
		}
		if n > 1 {
			return fmt.Errorf("consuming queue %s: %w", q.name, errNameTaken)
		}
	}
	return nil
}

// add makes a consumer of a queue and starts its pump. The tag is a number, as in
// oslo.messaging, and is never used again, because a broker that has cancelled a
// consumer may still know its tag.
func (c *consumers) add(i, prefetch int) error {
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	q := &c.queues[i]
	args := amqp.Table{}
	if c.options.CancelOnFailover {
		args["x-cancel-on-ha-failover"] = true
	}
	if q.stream {
		args = amqp.Table{"x-stream-offset": c.position.resume()}
	}
	c.lastTag++
	n := &consumer{consumers: c, index: i, tag: fmt.Sprint(c.lastTag), prefetch: prefetch}
	var deliveries <-chan amqp.Delivery
	err := c.session.roundTrip(c.cleanup, "consuming queue "+q.name, func() (err error) {
		if prefetch > 0 {
			if err := c.ch.Qos(prefetch, 0, false); err != nil {
				return fmt.Errorf("setting the prefetch count: %w", err)
			}
		}
		deliveries, err = c.ch.Consume(q.name, n.tag, false, false, false, false, args)
		return err
	})
	if err != nil {
		return fmt.Errorf("consuming queue %s: %w", q.name, err)
	}
	c.byQueue[i] = n
	c.pumps.Go(func() {
		c.drain(n, deliveries)
		select {
		case c.lost <- n:
		case <-c.receiving.Done():
		case <-c.ended:
		}
	})
	return nil
}

// cancelConsumer stops the deliveries of a consumer. What the broker has sent before is
// still handed on and can be settled.
func (c *consumers) cancelConsumer(n *consumer) {
	err := c.session.roundTrip(c.cleanup, "cancelling a consumer", func() error { return c.ch.Cancel(n.tag, false) })
	if err != nil && !c.ch.IsClosed() {
		c.log.WithError(err).WithField("queue", c.queues[n.index].name).Warn("a consumer could not be cancelled")
	}
}

// run keeps a consumer at every queue until receiving ends. From then on it only keeps
// the channel open, so that deliveries can still be settled.
func (c *consumers) run() error {
	if err := c.keepConsuming(); err != nil {
		return err
	}
	for _, n := range c.byQueue {
		if n != nil {
			c.cancelConsumer(n)
		}
	}
	c.becomeIdle()
	select {
	case reason := <-c.closes:
		return closeError(reason)
	case <-c.ctx.Done():
		return rpc.ErrClosed
	}
}

// keepConsuming restores lost consumers and adapts their prefetch until receiving ends.
// It returns an error when the channel is no longer usable.
func (c *consumers) keepConsuming() error {
	c.consuming.Store(true)
	defer c.consuming.Store(false)
	tries := redeclareAttempts()
	var retry, recheck <-chan time.Time
	for {
		select {
		case reason := <-c.closes:
			return closeError(reason)
		case <-c.receiving.Done():
			return nil
		case n := <-c.lost:
			if c.lose(n) {
				retry = time.After(0)
			}
		case <-retry:
			retry = c.restore(tries)
		case <-c.checkRequested:
			if err := c.checkConsumers(); err != nil {
				return err
			}
		case <-c.starved:
			recheck = time.After(starvedFor)
		case <-recheck:
			recheck = c.grow()
		case n := <-c.fast:
			c.resize(n, min(2*n.prefetch, c.prefetch.most))
		case n := <-c.busy:
			c.resize(n, c.prefetch.least)
		}
	}
}

func closeError(reason *amqp.Error) error {
	if reason == nil {
		return errors.New("channel closed")
	}
	return reason
}

// lose removes a consumer whose deliveries have ended, and reports whether it has to be
// restored: not when resize has replaced it, or when the channel is closed.
func (c *consumers) lose(n *consumer) bool {
	if c.byQueue[n.index] != n {
		return false
	}
	c.byQueue[n.index] = nil
	if c.ch.IsClosed() {
		return false
	}
	c.consuming.Store(false)
	return true
}

// restore creates the consumers again that the broker has cancelled, and leaves the
// others alone. It returns when to try again, or nil when every queue has its consumer.
func (c *consumers) restore(tries *attempts) <-chan time.Time {
	complete := true
	for i, n := range c.byQueue {
		if n != nil {
			continue
		}
		q := &c.queues[i]
		log := c.log.WithField("queue", q.name)
		if q.stream {
			// The stream may have been deleted and created again, with new offsets.
			c.position.reset()
		}
		err := c.declare(i)
		if err == nil {
			err = c.add(i, c.prefetch.least)
		}
		if err != nil {
			complete = false
			log.WithError(err).Log(tries.level(err.Error(), logrus.ErrorLevel), "a cancelled consumer could not be brought back")
			continue
		}
		log.Warn("the broker had cancelled a consumer, consuming again")
	}
	if !complete {
		return time.After(tries.delay())
	}
	tries.succeeded()
	c.consuming.Store(true)
	return nil
}

// checkConsumers asks the broker whether the queues that only this process consumes
// still have a consumer. A consumer that was lost with a node or in a partition gets no
// basic.cancel.
func (c *consumers) checkConsumers() error {
	for i := range c.queues {
		q := &c.queues[i]
		if !q.soleConsumer || c.byQueue[i] == nil {
			continue
		}
		n, err := q.consumers(c.cleanup, c.session)
		if err != nil {
			c.log.WithError(err).WithField("queue", q.name).Warn("could not look after a consumer")
			continue
		}
		if n == 0 {
			return fmt.Errorf("the broker has lost the consumer of queue %s", q.name)
		}
	}
	return nil
}

// grow doubles the prefetch of each consumer whose messages are all being handled. It
// returns when to check again, or nil when there was no such consumer.
func (c *consumers) grow() (recheck <-chan time.Time) {
	for _, n := range c.byQueue {
		if n != nil && n.isStarved() {
			c.resize(n, min(2*n.prefetch, c.prefetch.most))
			recheck = time.After(starvedFor)
		}
	}
	return recheck
}

// resize replaces a consumer by one with another prefetch, because RabbitMQ applies a
// change to new consumers only. The new consumer is created first, since an auto-delete
// queue is deleted with its last consumer. The old one keeps the messages that it has
// received.
func (c *consumers) resize(n *consumer, prefetch int) {
	if c.byQueue[n.index] != n || n.prefetch == prefetch {
		return
	}
	if err := c.add(n.index, prefetch); err != nil {
		if !c.ch.IsClosed() {
			c.log.WithError(err).WithField("queue", c.queues[n.index].name).Warn("the prefetch count could not be changed")
		}
		return
	}
	c.cancelConsumer(n)
}

// isStarved reports whether all messages of the prefetch are being handled and the
// prefetch can be raised.
func (n *consumer) isStarved() bool {
	return n.prefetch < n.consumers.prefetch.most && !n.delivering.Load() && n.unsettled.Load() >= int64(n.prefetch)
}

// deliver passes a delivery and its arrival time to receive, and tells run when the
// prefetch is too small or too large.
func (n *consumer) deliver(d *amqp.Delivery, at time.Time, receive func(rpc.Incoming)) {
	m := n.incoming(d)
	m.Arrived = at
	grown := n.prefetch > n.consumers.prefetch.least
	var begin time.Time
	if grown {
		begin = time.Now()
	}
	n.delivering.Store(true)
	receive(m)
	n.delivering.Store(false)
	switch {
	case n.isStarved():
		notifyOnce(n.consumers.starved, n)
	case grown && time.Since(begin) > busyAfter:
		notifyOnce(n.consumers.busy, n)
	case n.isFast():
		notifyOnce(n.consumers.fast, n)
	}
}

// isFast counts a delivery and reports whether workers take messages so fast that they
// may be waiting for the broker to send more.
func (n *consumer) isFast() bool {
	if n.delivered++; n.delivered%n.prefetch != 0 || n.prefetch == n.consumers.prefetch.most {
		return false
	}
	before := n.since
	n.since = time.Now()
	return n.since.Sub(before) < starvedFor
}

// incoming converts a delivery to its transport-neutral form.
func (n *consumer) incoming(d *amqp.Delivery) rpc.Incoming {
	n.unsettled.Add(1)
	a := n.consumers.acks.received(d.DeliveryTag)
	a.consumer = n
	if n.consumers.queues[n.index].stream {
		a.offset, a.inStream = d.Headers["x-stream-offset"].(int64)
		if a.inStream {
			n.consumers.position.received(a.offset)
		}
	}
	m := incoming(d)
	m.Acknowledger = a
	return m
}

// notifyOnce sends n unless an earlier notification has not been received yet.
func notifyOnce(to chan<- *consumer, n *consumer) {
	select {
	case to <- n:
	default:
	}
}

// receiveReplies passes replies to their calls. All replies are acknowledged at once,
// so that one acknowledgement can cover several that arrived together.
func (n *consumer) receiveReplies(r *rpc.Replies, deliveries <-chan amqp.Delivery, every int) {
	for d := range deliveries {
		r.Receive(incoming(&d))
		last, more := d, true
		for count := 1; count < every && more; count++ {
			select {
			case next, ok := <-deliveries:
				if more = ok; ok {
					r.Receive(incoming(&next))
					last = next
				}
			default:
				more = false
			}
		}
		// When the channel is lost, the broker delivers again and the replies are dropped.
		_ = n.consumers.acks.ackUpTo(last.DeliveryTag)
	}
}

// incoming converts a delivery to its transport-neutral form without an Acknowledger.
func incoming(d *amqp.Delivery) rpc.Incoming {
	compression, _ := d.Headers[compressionHeader].(string)
	return rpc.Incoming{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Compression: compression,
		Expiration: d.Expiration, Headers: textHeaders(d.Headers), Body: d.Body, Redelivered: d.Redelivered,
	}
}

// textHeaders returns the text headers of a delivery without the transport's own, which
// callers may have set. Most messages have none.
func textHeaders(table amqp.Table) map[string]string {
	var headers map[string]string
	for name, value := range table {
		text, ok := value.(string)
		if !ok || name == compressionHeader {
			continue
		}
		if headers == nil {
			headers = make(map[string]string, len(table))
		}
		headers[name] = text
	}
	return headers
}

// arrival is a delivery and the time at which it came.
type arrival struct {
	delivery amqp.Delivery
	at       time.Time
}

// eachArrival passes deliveries on one after the other with their arrival times, so
// that the time they wait while receive blocks counts against their callers' deadlines.
// The prefetch bounds how many wait.
func eachArrival(deliveries <-chan amqp.Delivery, receive func(d *amqp.Delivery, at time.Time)) {
	next, done := make(chan arrival), make(chan struct{})
	go func() {
		defer close(done)
		for a := range next {
			receive(&a.delivery, a.at)
		}
	}()
	var waiting []arrival
	for deliveries != nil || len(waiting) > 0 {
		var out chan<- arrival
		var first arrival
		if len(waiting) > 0 {
			out, first = next, waiting[0]
		}
		select {
		case d, ok := <-deliveries:
			if !ok {
				deliveries = nil
				continue
			}
			waiting = append(waiting, arrival{d, time.Now()})
		case out <- first:
			waiting[0] = arrival{} // keep nothing of it
			waiting = waiting[1:]
		}
	}
	close(next)
	<-done
}
