// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// echoCommand is the argument with which this program is a server that takes
// messages and answers them with as many bytes as it was told, and does nothing
// else: no envelope, no confirms, no JSON. It is the ceiling of what a server in
// Go can do on this machine and broker.
const echoCommand = "raw-echo"

// echoPrefetch and echoAckEvery are those of rpc/rabbit's own consumer and of its
// reply queue.
const (
	echoPrefetch = 128
	echoAckEvery = 1
)

// serveEcho serves a queue until its input ends. arguments are the broker's URL, the
// queue and the size of an answer.
func serveEcho(arguments []string) error {
	if len(arguments) != 3 {
		return errors.New("usage: " + echoCommand + " URL QUEUE SIZE")
	}
	size, err := strconv.Atoi(arguments[2])
	if err != nil {
		return fmt.Errorf("size of an answer: %w", err)
	}
	conn, err := dial(arguments[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	requests, err := consume(ch, arguments[1])
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = conn.Close()
	}()
	answer := make([]byte, size)
	for r := range requests {
		err := ch.Publish("", r.ReplyTo, false, false, amqp.Publishing{
			CorrelationId: r.CorrelationId, DeliveryMode: amqp.Persistent, Body: answer})
		if err == nil {
			err = r.Ack(false)
		}
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return nil
}

func consume(ch *amqp.Channel, queue string) (<-chan amqp.Delivery, error) {
	if err := ch.Qos(echoPrefetch, 0, false); err != nil {
		return nil, fmt.Errorf("set the prefetch count: %w", err)
	}
	if _, err := ch.QueueDeclare(queue, false, false, false, false, nil); err != nil {
		return nil, fmt.Errorf("declare queue %s: %w", queue, err)
	}
	messages, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return nil, fmt.Errorf("consume queue %s: %w", queue, err)
	}
	return messages, nil
}

// echoClient makes calls to a raw echo server.
type echoClient struct {
	conn    *amqp.Connection
	ch      *amqp.Channel
	queue   string
	replies string
	request []byte
	next    atomic.Uint64
	waiting sync.Map // correlation id to chan struct{}
}

func newEchoClient(broker, queue string, size int) (*echoClient, error) {
	conn, err := dial(broker)
	if err != nil {
		return nil, err
	}
	c := &echoClient{conn: conn, queue: queue, replies: queue + "-replies", request: make([]byte, size)}
	answers, err := c.open()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go func() {
		for a := range answers {
			if waiter, ok := c.waiting.LoadAndDelete(a.CorrelationId); ok {
				close(waiter.(chan struct{}))
			}
			_ = a.Ack(false)
		}
	}()
	return c, nil
}

func (c *echoClient) open() (<-chan amqp.Delivery, error) {
	var err error
	if c.ch, err = c.conn.Channel(); err != nil {
		return nil, err
	}
	// The server may not have declared it yet.
	if _, err := c.ch.QueueDeclare(c.queue, false, false, false, false, nil); err != nil {
		return nil, fmt.Errorf("declare queue %s: %w", c.queue, err)
	}
	return consume(c.ch, c.replies)
}

func (c *echoClient) call(ctx context.Context) error {
	id := strconv.FormatUint(c.next.Add(1), 10)
	done := make(chan struct{})
	c.waiting.Store(id, done)
	err := c.ch.Publish("", c.queue, false, false, amqp.Publishing{
		CorrelationId: id, ReplyTo: c.replies, DeliveryMode: amqp.Persistent, Body: c.request})
	if err != nil {
		return fmt.Errorf("publish a request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the answer: %w", ctx.Err())
	}
}

func (c *echoClient) close() error { return c.conn.Close() }
