// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"

	"github.com/karbor-project/karbor/rpc"
)

// mark tells queues from exchanges of the same name.
func (q *queue) mark() string { return "queue " + q.name + " " + q.key }

func (x *exchange) mark() string { return x.name }

// bound is a lasting queue that keys of topic exchanges feed: a notification queue
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

// Post publishes to a key and makes sure, once per connection, that its queue
// exists: messages wait there when nobody listens. It returns when the broker has
// confirmed the message.
func (t *Transport) Post(ctx context.Context, b rpc.Binding, p rpc.Publishing) error {
	q := t.options.bound(b.Queue, []rpc.Binding{b})
	m := message{exchange: q.exchange, key: b.Key, queue: &q, mandatory: p.Mandatory}
	if err := t.fill(&m, p.Body); err != nil {
		return err
	}
	m.addHeaders(p.Headers)
	m.setRetry(p.Retry)
	return t.publish(ctx, &m)
}

// Subscribe declares the queues of the bindings and consumes each of them once. It
// waits for the broker as Listen does.
func (t *Transport) Subscribe(ctx context.Context, bindings []rpc.Binding, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	byQueue := make(map[string][]rpc.Binding)
	var names []string
	for _, b := range bindings {
		if byQueue[b.Queue] == nil {
			names = append(names, b.Queue)
		}
		byQueue[b.Queue] = append(byQueue[b.Queue], b)
	}
	queues := make([]queue, 0, len(names))
	for _, name := range names {
		queues = append(queues, t.options.bound(name, byQueue[name]))
	}
	return t.listen(ctx, queues, o, receive)
}
