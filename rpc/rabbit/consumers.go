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

// prefetch is how many unacknowledged messages the broker sends ahead to a consumer:
// least at first, and up to most while that many are in work.
type prefetch struct{ least, most int }

const (
	// starvedFor is how long all messages that the broker sends ahead must have been
	// with workers before it is asked for more. Within the same time as many must have
	// been taken when workers are fast.
	starvedFor = 20 * time.Millisecond
	// busyAfter is how long a message waits for a worker until the broker is asked to
	// send only few ahead, so that others get the rest.
	busyAfter = 50 * time.Millisecond
)

// consumers are the consumers of a subscription on one channel. The channel carries
// no declarations, so that errors of these leave it alone, and every round trip on
// it is made by the goroutine of run: the library hands an answer to whoever waits
// for one.
type consumers struct {
	*subscription
	session *session
	ch      *amqp.Channel
	closes  <-chan *amqp.Error
	acks    *acks
	byQueue []*consumer // by queue; nil while there is none
	lastTag int         // given so far
	ended   chan struct{}
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
	unsettled  atomic.Int64 // deliveries that are handed on and not settled
	delivering atomic.Bool  // a delivery on

	// The pump counts what it hands on, from a time on.
	delivered int
	since     time.Time
}

// consume works on one session until its channel ends. recovered is called when
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

// declare makes sure of a queue. When a subscription starts, the queue of a name that
// is for one process alone must have no consumer yet: the name is another's then.
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

// checkOwnNames looks for a process that has chosen a name at the same moment.
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

// add has the broker send the messages of a queue to a new consumer and starts its
// pump. A tag is a number, as in oslo.messaging, and is used once: a broker that has
// cancelled a consumer may still know its tag.
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
		case <-c.ended:
		}
	})
	return nil
}

// cancelConsumer has the broker send nothing more to a consumer. What it has sent is
// still handed on and can be settled.
func (c *consumers) cancelConsumer(n *consumer) {
	err := c.session.roundTrip(c.cleanup, "cancelling a consumer", func() error { return c.ch.Cancel(n.tag, false) })
	if err != nil && !c.ch.IsClosed() {
		c.log.WithError(err).WithField("queue", c.queues[n.index].name).Warn("a consumer could not be cancelled")
	}
}

// run keeps a consumer at every queue until the channel ends, or until receiving
// ends; from then on it only keeps the channel, for what is still to be settled.
func (c *consumers) run() error {
	c.consuming.Store(true)
	receiving := c.receiving.Done()
	wait := redeclareBackoff()
	var trouble outage
	var again, look <-chan time.Time
	for {
		select {
		case reason := <-c.closes:
			if reason == nil {
				return errors.New("channel closed")
			}
			return reason
		case <-c.ctx.Done():
			return rpc.ErrClosed
		case <-receiving:
			receiving, again, look = nil, nil, nil
			c.consuming.Store(false)
			for _, n := range c.byQueue {
				if n != nil {
					c.cancelConsumer(n)
				}
			}
			c.becomeIdle()
		case n := <-c.lost:
			if c.byQueue[n.index] != n { // replaced
				continue
			}
			c.byQueue[n.index] = nil
			if receiving != nil && !c.ch.IsClosed() {
				c.consuming.Store(false)
				again = time.After(0)
			}
		case <-again:
			again = nil
			if !c.restore(&trouble) {
				again = time.After(wait.next())
				continue
			}
			c.consuming.Store(true)
			wait.reset()
		case <-c.checkRequested:
			if receiving == nil {
				continue
			}
			if err := c.checkConsumers(); err != nil {
				return err
			}
		case <-c.starved:
			if receiving != nil {
				look = time.After(starvedFor)
			}
		case <-look:
			look = nil
			if c.grow() {
				look = time.After(starvedFor)
			}
		case n := <-c.fast:
			if receiving != nil {
				c.resize(n, min(2*n.prefetch, c.prefetch.most))
			}
		case n := <-c.busy:
			if receiving != nil {
				c.resize(n, c.prefetch.least)
			}
		}
	}
}

// restore brings the consumers back that the broker has cancelled, without disturbing
// the others, and reports whether all are there.
func (c *consumers) restore(trouble *outage) bool {
	whole := true
	for i, n := range c.byQueue {
		if n != nil {
			continue
		}
		q := &c.queues[i]
		log := c.log.WithField("queue", q.name)
		if q.stream {
			// The stream may be a new one with offsets of its own.
			c.position.reset()
		}
		err := c.declare(i)
		if err == nil {
			err = c.add(i, c.prefetch.least)
		}
		if err != nil {
			whole = false
			log.WithError(err).Log(trouble.level(err.Error(), logrus.ErrorLevel), "a cancelled consumer could not be brought back")
			continue
		}
		trouble.over()
		log.Warn("the broker had cancelled a consumer, consuming again")
	}
	return whole
}

// checkConsumers asks the broker whether the queues that are this process's alone still have
// a consumer. One that was lost with a node, or in a partition, is not cancelled.
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

// grow doubles the prefetch of the consumers all of whose messages are in work, and
// reports whether there are any.
func (c *consumers) grow() bool {
	any := false
	for _, n := range c.byQueue {
		if n != nil && n.isStarved() {
			any = true
			c.resize(n, min(2*n.prefetch, c.prefetch.most))
		}
	}
	return any
}

// resize replaces a consumer by one of another prefetch, which the broker knows of a
// new consumer only. The new one comes first: a queue of auto-delete goes with its
// last consumer. Messages that the old one has got stay with it.
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

// isStarved reports whether all messages that the broker sends ahead are in work, and
// more could be.
func (n *consumer) isStarved() bool {
	return n.prefetch < n.consumers.prefetch.most && !n.delivering.Load() && n.unsettled.Load() >= int64(n.prefetch)
}

// deliver gives a delivery, with the time at which it came, to receive, and watches whether
// too few or too many are sent ahead.
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

// isFast counts a delivery, and reports whether as many as are sent ahead were taken so
// fast that the broker's answers to the acknowledgements may be what is waited for.
func (n *consumer) isFast() bool {
	if n.delivered++; n.delivered%n.prefetch != 0 || n.prefetch == n.consumers.prefetch.most {
		return false
	}
	before := n.since
	n.since = time.Now()
	return n.since.Sub(before) < starvedFor
}

// incoming is a delivery in its transport-neutral form.
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

// notifyOnce sends unless an earlier one of its kind is still to be heard.
func notifyOnce(to chan<- *consumer, n *consumer) {
	select {
	case to <- n:
	default:
	}
}

// receiveReplies hands replies to their calls. Every reply is acknowledged at
// once, so that one acknowledgement can cover all that have come together.
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
		// On a lost channel the broker delivers again; nobody waits for it then.
		_ = n.consumers.acks.ackUpTo(last.DeliveryTag)
	}
}

// incoming is the transport-neutral form of a delivery, without what settles it.
func incoming(d *amqp.Delivery) rpc.Incoming {
	compression, _ := d.Headers[compressionHeader].(string)
	return rpc.Incoming{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Compression: compression,
		Expiration: d.Expiration, Headers: textHeaders(d.Headers), Body: d.Body, Redelivered: d.Redelivered,
	}
}

// textHeaders are the headers of a delivery that callers may have set: those of
// text, without the transport's own. Most messages have none.
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

// arrival is a delivery and when it came.
type arrival struct {
	delivery amqp.Delivery
	at       time.Time
}

// eachArrival hands deliveries on one after the other, with the times at which they
// came: those that wait here while receive blocks wait in their callers' time. The
// prefetch bounds them.
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
