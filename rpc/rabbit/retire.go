// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// maxNacks is how often a message is offered to a broker that does not keep it,
	// for 20 s and more. That is longer than a cluster takes to agree on the new leader
	// of a queue, and an end for a queue that is full and refuses.
	maxNacks = 16
	// retirePause keeps a queue that refuses for long from costing a channel for
	// each message.
	retirePause = time.Second
)

// errNack says that the broker has taken the message and could not keep it.
var errNack = errors.New("negative confirm")

// retire has further messages sent on a channel of their own, after the broker
// could not keep one of this channel's.
//
// A channel of RabbitMQ keeps its own idea of each quorum queue that it publishes
// to. One that met the queue when the queue's record still named a lost node as the
// leader goes on to ask that node: it refuses every message for as long as the node
// is away, while any other channel of the same connection, and of the same queue,
// works. rabbitmq-server 3.10: rabbit_quorum_queue init/1, rabbit_fifo_client enqueue/3
func (o *outlet) retire(log logrus.FieldLogger) {
	s := o.session
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.outlets[o.slot] != o || time.Since(s.retired[o.slot]) < retirePause {
		return
	}
	s.outlets[o.slot], s.retired[o.slot] = nil, time.Now()
	log.Warn("the broker could not keep a message, publishing on another channel")
	go o.end()
}

// end closes the channel once nobody waits for a confirm of it.
func (o *outlet) end() {
	for range cap(o.window) {
		o.window <- struct{}{}
	}
	answered := o.session.expectAnswer("closing a channel", answerTime)
	_ = o.ch.Close()
	answered()
	// Those who chose the channel before it was retired find it closed.
	for range cap(o.window) {
		<-o.window
	}
}
