// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

// wire speaks AMQP with the service's queues and nothing of our own library, so
// that bytes are sent and seen as they are.
type wire struct {
	exchange, topic string
	channel         *amqp.Channel
	replies         map[string]<-chan amqp.Delivery
}

// dial connects to the broker, and takes away in the end what the service made.
func dial(t *testing.T, url, exchange, topic string) *wire {
	t.Helper()
	u, err := rpc.ParseTransportURL(url)
	if err != nil {
		t.Fatal(err)
	}
	broker := u.Brokers()[0]
	connection, err := amqp.DialConfig("amqp://"+broker.Address(), amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: broker.User, Password: broker.Password}}, Vhost: u.VirtualHost})
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{exchange: exchange, topic: topic, replies: map[string]<-chan amqp.Delivery{}}
	if w.channel, err = connection.Channel(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, queue := range []string{topic, topic + "." + host} {
			if _, err := w.channel.QueueDelete(queue, false, false, false); err != nil {
				t.Error(err)
			}
		}
		for queue := range w.replies {
			if _, err := w.channel.QueueDelete(queue, false, false, false); err != nil {
				t.Error(err)
			}
		}
		if err := w.channel.ExchangeDelete(exchange, false, false); err != nil {
			t.Error(err)
		}
		_ = connection.Close()
	})
	return w
}

// message is what was published once: by a client, or by a server.
type message struct {
	Exchange   string          `json:"exchange"`
	RoutingKey string          `json:"routing_key"`
	Properties json.RawMessage `json:"properties"`
	Body       string          `json:"body"`
}

// listen begins to take the messages of a reply queue, which is declared as
// oslo.messaging's clients do. It is nobody else's meanwhile.
func (w *wire) listen(t *testing.T, queue string) <-chan amqp.Delivery {
	t.Helper()
	if replies, ok := w.replies[queue]; ok {
		return replies
	}
	if _, err := w.channel.QueueDeclare(queue, false, false, false, false, amqp.Table{"x-expires": int64(1800000)}); err != nil {
		t.Fatal(err)
	}
	replies, err := w.channel.Consume(queue, "", true, true, false, false, nil)
	if err != nil {
		t.Fatalf("another run of this test uses queue %s: %v", queue, err)
	}
	w.replies[queue] = replies
	return replies
}

// publish sends a recorded request to this test's exchange and topic.
func (w *wire) publish(t *testing.T, m message) {
	t.Helper()
	exchange, key := m.Exchange, m.RoutingKey
	if exchange == "openstack" {
		exchange = w.exchange
	} else {
		exchange = strings.Replace(exchange, "karbor-protection", w.topic, 1)
	}
	key = strings.Replace(key, "karbor-protection", w.topic, 1)
	var p properties
	if len(m.Properties) > 0 {
		if err := json.Unmarshal(m.Properties, &p); err != nil {
			t.Fatal(err)
		}
	}
	w.publishRaw(t, exchange, key, amqp.Publishing{
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, DeliveryMode: p.DeliveryMode, Priority: p.Priority,
		Expiration: p.Expiration, Headers: p.Headers, Body: []byte(m.Body)})
}

func (w *wire) publishRaw(t *testing.T, exchange, key string, p amqp.Publishing) {
	t.Helper()
	if err := w.channel.Publish(exchange, key, false, false, p); err != nil {
		t.Fatal(err)
	}
}

// properties are those of a message that the recording has.
type properties struct {
	ContentType     string     `json:"content_type,omitempty"`
	ContentEncoding string     `json:"content_encoding,omitempty"`
	DeliveryMode    uint8      `json:"delivery_mode,omitempty"`
	Priority        uint8      `json:"priority"`
	Expiration      string     `json:"expiration,omitempty"`
	Headers         amqp.Table `json:"headers"`
}

// propertiesOf returns those of a message that came. The recording has an empty
// table of headers where our AMQP library sends none, which is the same to every
// client.
func propertiesOf(d amqp.Delivery) properties {
	p := properties{d.ContentType, d.ContentEncoding, d.DeliveryMode, d.Priority, d.Expiration, d.Headers}
	if p.Headers == nil {
		p.Headers = amqp.Table{}
	}
	return p
}

// reply is the inner message of a reply.
type reply struct {
	Result   json.RawMessage `json:"result"`
	Failure  *string         `json:"failure"`
	Ending   bool            `json:"ending"`
	MsgID    string          `json:"_msg_id"`
	UniqueID string          `json:"_unique_id"`
}

// failure is the error of a reply.
type failure struct {
	Class   string         `json:"class"`
	Module  string         `json:"module"`
	Message string         `json:"message"`
	Tb      []string       `json:"tb"`
	Args    []any          `json:"args"`
	Kwargs  map[string]any `json:"kwargs"`
}

func (r *reply) failure(t *testing.T) *failure {
	t.Helper()
	if r.Failure == nil {
		return nil
	}
	var f failure
	if err := json.Unmarshal([]byte(*r.Failure), &f); err != nil {
		t.Fatalf("failure %s: %v", *r.Failure, err)
	}
	return &f
}

// openReply reads the envelope of a reply.
func openReply(t *testing.T, body []byte) *reply {
	t.Helper()
	var envelope struct {
		Version string `json:"oslo.version"`
		Message string `json:"oslo.message"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil || envelope.Version != "2.0" {
		t.Fatalf("envelope %.200s: %v", body, err)
	}
	var r reply
	if err := json.Unmarshal([]byte(envelope.Message), &r); err != nil {
		t.Fatalf("reply %.200s: %v", envelope.Message, err)
	}
	return &r
}

// receive returns the next message of a reply queue.
func receive(t *testing.T, replies <-chan amqp.Delivery) amqp.Delivery {
	t.Helper()
	select {
	case d := <-replies:
		return d
	case <-time.After(patience):
		t.Fatal("no reply")
	}
	return amqp.Delivery{}
}

// request is a call in the form of oslo.messaging.
type request struct {
	Method    string
	Args      any
	Namespace string
	Version   string // "": 1.0
	Context   map[string]any
}

// caller is the context of the calls that are not recorded.
var caller = map[string]any{"user_id": "33333333-3333-4333-8333-333333333333",
	"project_id": "11111111-1111-4111-8111-111111111111", "project_name": "demo", "is_admin": false, "roles": []string{"member"}}

// call makes a call and returns its reply.
func (w *wire) call(t *testing.T, q request) *reply {
	t.Helper()
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	queue := "reply_" + w.topic
	replies := w.listen(t, queue)
	if q.Version == "" {
		q.Version = "1.0"
	}
	if q.Args == nil {
		q.Args = map[string]any{}
	}
	if q.Context == nil {
		q.Context = caller
	}
	inner := map[string]any{"method": q.Method, "args": q.Args, "version": q.Version,
		"_msg_id": id, "_reply_q": queue, "_timeout": nil, "_unique_id": id}
	if q.Namespace != "" {
		inner["namespace"] = q.Namespace
	}
	for name, value := range q.Context {
		inner["_context_"+name] = value
	}
	w.publishRaw(t, w.exchange, w.topic, amqp.Publishing{ContentType: "application/json", ContentEncoding: "utf-8",
		DeliveryMode: 2, Body: envelope(t, inner)})
	for {
		r := openReply(t, receive(t, replies).Body)
		if r.MsgID == id && r.Ending {
			return r
		}
	}
}

func envelope(t *testing.T, inner any) []byte {
	t.Helper()
	text, err := json.Marshal(inner)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"oslo.version": "2.0", "oslo.message": string(text)})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// serves tells that the service goes on working.
func (d *daemon) serves(t *testing.T) {
	t.Helper()
	if f := d.call(t, request{Method: "list_providers"}).failure(t); f != nil {
		t.Errorf("list_providers afterwards: %s: %s", f.Class, f.Message)
	}
}
