// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

// exchange is an exchange with the properties that it is declared with.
type exchange struct {
	name, kind          string
	durable, autoDelete bool
}

// queue is one queue with the binding that feeds it.
type queue struct {
	name                string
	durable, autoDelete bool
	args                amqp.Table
	// exchange is nil for reply queues, which the default exchange reaches.
	exchange *exchange
	key      string
	// more are the further bindings of a queue that several keys feed.
	more []binding
	// stream marks a stream that all servers of the topic share.
	stream bool
	// deleteAtClose has the queue deleted when its listener closes.
	deleteAtClose bool
	// ownName marks a name that only one process should have but another could take.
	ownName bool
	// soleConsumer marks a queue that nothing but its subscription consumes.
	soleConsumer bool
	// declared is set when the subscription has tried to declare the queue.
	declared bool
}

// binding routes messages with a key to a queue.
type binding struct {
	exchange *exchange
	key      string
}

// topicExchange returns the exchange that scopes topics. oslo.messaging: impl_rabbit.py
// declare_topic_consumer, _get_exchange_options
func (o *Options) topicExchange(name string) *exchange {
	return &exchange{name: name, kind: "topic", durable: o.durable(), autoDelete: o.AutoDelete}
}

// fanoutExchange returns the exchange of a topic's fanouts, which the control exchange
// does not scope.
func (o *Options) fanoutExchange(topic string) *exchange {
	return &exchange{name: topic + "_fanout", kind: "fanout", durable: o.TransientQuorumQueue, autoDelete: true}
}

// durable reports whether the exchange and the topic queues survive the broker.
func (o *Options) durable() bool { return o.DurableQueues || o.QuorumQueue }

// topicQueue returns a shared queue that is bound with its own name as the key.
func (o *Options) topicQueue(x *exchange, name string) queue {
	return queue{
		name: name, durable: o.durable(), autoDelete: o.AutoDelete, args: o.arguments(o.QuorumQueue, false),
		exchange: x, key: name,
	}
}

// fanoutQueue returns this server's own queue for fanouts, or the topic's stream.
func (o *Options) fanoutQueue(topic, suffix string) queue {
	x := o.fanoutExchange(topic)
	if o.StreamFanout {
		return queue{name: x.name, durable: true, args: o.streamArguments(), exchange: x, key: topic, stream: true}
	}
	return queue{
		name: x.name + "_" + suffix, durable: o.TransientQuorumQueue, args: o.arguments(o.TransientQuorumQueue, true),
		exchange: x, key: topic, deleteAtClose: !o.UseQueueManager, ownName: o.UseQueueManager,
	}
}

// replyQueue returns the transport's queue for answers.
func (o *Options) replyQueue(suffix string) queue {
	q := queue{
		name: "reply_" + suffix, durable: o.TransientQuorumQueue, args: o.arguments(o.TransientQuorumQueue, true),
		ownName: o.UseQueueManager, soleConsumer: true,
	}
	if o.DirectReplyExchange {
		q.exchange, q.key = &exchange{name: q.name, kind: "direct", autoDelete: true}, q.name
	}
	return q
}

// bound returns a lasting queue that keys of topic exchanges feed: a notification queue
// or a pool of listeners. oslo.messaging: impl_rabbit.py notify_send,
// declare_topic_consumer
func (o *Options) bound(name string, bindings []rpc.Binding) queue {
	q := o.topicQueue(o.topicExchange(bindings[0].ExchangeName()), name)
	q.key = bindings[0].Key
	for _, b := range bindings[1:] {
		q.more = append(q.more, binding{o.topicExchange(b.ExchangeName()), b.Key})
	}
	return q
}

// arguments returns the x- arguments of a queue, which must equal those of the peers.
// oslo.messaging: impl_rabbit.py _get_queue_arguments
func (o *Options) arguments(quorum, transient bool) amqp.Table {
	args := amqp.Table{}
	if o.HAQueues {
		args["x-ha-policy"] = "all"
	}
	if quorum {
		args["x-queue-type"] = "quorum"
		for name, limit := range map[string]int{
			"x-delivery-limit":       o.QuorumDeliveryLimit,
			"x-max-in-memory-length": o.QuorumMaxMemoryLength,
			"x-max-in-memory-bytes":  o.QuorumMaxMemoryBytes,
		} {
			if limit > 0 {
				args[name] = int64(limit)
			}
		}
	}
	if transient && o.TransientQueuesTTL > 0 {
		args["x-expires"] = int64(o.TransientQueuesTTL) * 1000
	}
	return args
}

func (o *Options) streamArguments() amqp.Table {
	args := amqp.Table{"x-queue-type": "stream"}
	if o.TransientQueuesTTL > 0 {
		args["x-max-age"] = fmt.Sprintf("%ds", o.TransientQueuesTTL)
	}
	return args
}

func (x *exchange) declarationKey() string { return x.name }

// declare declares the exchange. One that exists with another durability, as during a
// change of the configuration, is used as it is, since RabbitMQ routes the same.
// oslo.messaging: impl_rabbit.py _declare_fallback, since 14.1.0
func (x *exchange) declare(ctx context.Context, s *session, log logrus.FieldLogger) error {
	err := s.control(ctx, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(x.name, x.kind, x.durable, x.autoDelete, false, false, nil)
	})
	if err == nil {
		return nil
	}
	if ofCode(err, amqp.PreconditionFailed) && strings.Contains(err.Error(), "inequivalent arg 'durable'") {
		log.WithField("exchange", x.name).WithError(err).
			Warn("exchange exists with another durability than configured, using it as it is")
		err = s.control(ctx, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(x.name, x.kind, x.durable, x.autoDelete, false, false, nil)
		})
	}
	if err != nil {
		return fmt.Errorf("declaring exchange %s: %w", x.name, explain(err))
	}
	return nil
}

// declarationKey returns the key of the queue's declaration, which differs from the key of an
// exchange of the same name.
func (q *queue) declarationKey() string { return "queue " + q.name + " " + q.key }

// bindings returns all bindings of the queue; most reply queues have none.
func (q *queue) bindings() []binding {
	if q.exchange == nil {
		return nil
	}
	return append([]binding{{q.exchange, q.key}}, q.more...)
}

// declare declares the queue with its exchanges and bindings.
func (q *queue) declare(ctx context.Context, s *session, log logrus.FieldLogger) error {
	_, err := q.declareWithBindings(ctx, s, log)
	return err
}

// declareWithBindings is declare that returns how many consumers the queue has.
func (q *queue) declareWithBindings(ctx context.Context, s *session, log logrus.FieldLogger) (consumers int, err error) {
	bindings := q.bindings()
	for i, b := range bindings {
		if i > 0 && b.exchange.name == bindings[i-1].exchange.name {
			continue
		}
		if err := b.exchange.declare(ctx, s, log); err != nil {
			return 0, err
		}
	}
	return q.declareQueue(ctx, s, bindings)
}

// consumers returns the number of consumers of a queue that has been declared.
func (q *queue) consumers(ctx context.Context, s *session) (int, error) {
	return q.declareQueue(ctx, s, nil)
}

// declareQueue declares the queue and bindings to exchanges that exist.
func (q *queue) declareQueue(ctx context.Context, s *session, bindings []binding) (consumers int, err error) {
	err = s.control(ctx, func(ch *amqp.Channel) error {
		there, err := ch.QueueDeclare(q.name, q.durable, q.autoDelete, false, false, q.args)
		if err != nil {
			return err
		}
		consumers = there.Consumers
		for _, b := range bindings {
			if err := ch.QueueBind(q.name, b.key, b.exchange.name, false, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("declaring queue %s: %w", q.name, explain(err))
	}
	return consumers, nil
}
