// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

// echoCommand is the argument with which this program is a server that sends every
// request back as it came: no JSON, no confirms, no retries. It is what a server in
// Go costs that does nothing but use the AMQP library.
const echoCommand = "raw-echo"

// echoPrefetch is the prefetch of this project's server with its default of 64 workers.
const echoPrefetch = 128

// replyMember precedes the name of the reply queue in the text of a request.
var replyMember = []byte(`\"_reply_q\": \"`)

func dial(u *rpc.TransportURL) (*amqp.Connection, error) {
	h := u.Brokers()[0]
	return amqp.DialConfig("amqp://"+h.Address(), amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: h.User, Password: h.Password}}, Vhost: u.VirtualHost,
		Dial: func(network, address string) (net.Conn, error) { return net.Dial(network, address) },
	})
}

// serveEcho serves a topic until its input ends. arguments are URL and topic.
func serveEcho(arguments []string) error {
	if len(arguments) != 2 {
		return errors.New("usage: " + echoCommand + " URL TOPIC")
	}
	u, err := rpc.ParseTransportURL(arguments[0])
	if err != nil {
		return err
	}
	conn, err := dial(u)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, requests, err := consume(conn, arguments[1])
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = conn.Close()
	}()
	fmt.Println("ready")
	for r := range requests {
		_, rest, _ := bytes.Cut(r.Body, replyMember)
		queue, _, _ := bytes.Cut(rest, []byte(`\"`))
		err := ch.Publish("", string(queue), false, false, amqp.Publishing{
			ContentType: r.ContentType, ContentEncoding: r.ContentEncoding, DeliveryMode: amqp.Persistent, Body: r.Body})
		if err == nil {
			err = r.Ack(false)
		}
		if err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
	return nil
}

func consume(conn *amqp.Connection, topic string) (*amqp.Channel, <-chan amqp.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	if err := ch.Qos(echoPrefetch, 0, false); err != nil {
		return nil, nil, err
	}
	// As oslo.messaging declares them.
	if err := ch.ExchangeDeclare(rpc.DefaultExchange, "topic", false, false, false, false, nil); err != nil {
		return nil, nil, err
	}
	if _, err := ch.QueueDeclare(topic, false, false, false, false, nil); err != nil {
		return nil, nil, err
	}
	if err := ch.QueueBind(topic, topic, rpc.DefaultExchange, false, nil); err != nil {
		return nil, nil, err
	}
	requests, err := ch.Consume(topic, "", false, false, false, false, nil)
	return ch, requests, err
}
