// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// goldenCase is what a server and a client of oslo.messaging 18.1.0 have sent to a
// broker with some options that 14.0.3 does not know. Arguments that are false or
// empty are left out. Connections: 0 of the server, 1 for replies, 2 for requests,
// 3 for answers.
type goldenCase struct {
	Case      string         `json:"case"`
	Overrides map[string]any `json:"overrides"`
	Ops       []struct {
		Conn       int            `json:"conn"`
		Method     string         `json:"method"`
		Args       map[string]any `json:"args"`
		Properties map[string]any `json:"properties"`
		Body       string         `json:"body"`
	} `json:"ops"`
}

func readGoldenCase(t *testing.T, name string) *goldenCase {
	t.Helper()
	text, err := os.ReadFile("testdata/golden-newer-options.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []goldenCase
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Case == name {
			return &all[i]
		}
	}
	t.Fatalf("no golden case %q", name)
	return nil
}

// options are those of the case, for a process of that name.
func (g *goldenCase) options(t *testing.T, process string) rabbit.Options {
	t.Helper()
	o := fast()
	for name, value := range g.Overrides {
		if name == "processname" {
			value = process
		}
		if err := o.Set(name, fmt.Sprint(value)); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// peer repeats what the case has recorded, under names of its own: it declares,
// consumes and publishes as that server and client did.
type peer struct {
	t    testing.TB
	wire *wire
	*goldenCase
	rename          *strings.Replacer
	ids             map[string]string
	channels        map[int]*amqp.Channel
	replyQueue      string
	replies         <-chan amqp.Delivery
	topic, own, fan <-chan amqp.Delivery
	// held are the recorded publications: a request, an answer and a fanout.
	held map[string]method
}

var (
	goldenNames      = regexp.MustCompile(`trhead\d+`)
	goldenHex        = regexp.MustCompile(`[0-9a-f]{32}`)
	queueManagerName = regexp.MustCompile(`_node1:\w+:\d+$`)
)

// newPeer starts a server, named host1, and a client on the exchange and topic.
func newPeer(w *wire, g *goldenCase, target rpc.Target) *peer {
	w.t.Helper()
	p := &peer{t: w.t, wire: w, goldenCase: g, ids: map[string]string{}, channels: map[int]*amqp.Channel{}, held: map[string]method{}}
	name := ""
	for i := 0; name == ""; i++ {
		name = goldenNames.FindString(fmt.Sprint(g.Ops[i].Args["queue"]))
	}
	p.rename = strings.NewReplacer("ex"+strings.TrimPrefix(name, "t"), target.Exchange, name, target.Topic, "karbor-engine", "peer"+rpc.NewID()[:8])
	for _, op := range g.Ops {
		args := map[string]any{}
		for name, value := range op.Args {
			if text, ok := value.(string); ok {
				value = p.ours(text)
			}
			args[name] = value
		}
		if op.Method == "basic.publish" {
			p.hold(method{name: op.Method, args: args, properties: op.Properties, body: []byte(p.ours(op.Body))})
			continue
		}
		if op.Method != "queue.delete" { // which ends the server
			p.do(op.Conn, method{name: op.Method, args: args})
		}
	}
	return p
}

// ours is a golden text with our names; golden ids become fresh ones, the same
// for the same.
func (p *peer) ours(text string) string {
	return goldenHex.ReplaceAllStringFunc(p.rename.Replace(text), func(golden string) string {
		if p.ids[golden] == "" {
			p.ids[golden] = rpc.NewID()
		}
		return p.ids[golden]
	})
}

func (p *peer) hold(m method) {
	switch {
	case m.args["exchange"] == "":
		p.held["answer"] = m
	case strings.HasSuffix(m.args["exchange"].(string), "_fanout"):
		p.held["fanout"] = m
	default:
		p.held["request"] = m
	}
}

// do sends one method. The broker refuses a declaration that differs from what is
// there, so it is compared with what others have declared before.
func (p *peer) do(conn int, m method) {
	p.t.Helper()
	ch := p.channels[conn]
	if ch == nil {
		var err error
		if ch, err = p.wire.conn.Channel(); err != nil {
			p.t.Fatal(err)
		}
		p.channels[conn] = ch
	}
	text := func(name string) string { s, _ := m.args[name].(string); return s }
	is := func(name string) bool { b, _ := m.args[name].(bool); return b }
	var err error
	switch m.name {
	case "basic.qos":
		err = ch.Qos(int(m.args["prefetch_count"].(float64)), 0, false)
	case "exchange.declare":
		err = ch.ExchangeDeclare(text("exchange"), text("type"), is("durable"), is("auto_delete"), false, false, nil)
	case "queue.declare":
		p.wire.queues[text("queue")] = true
		_, err = ch.QueueDeclare(text("queue"), is("durable"), is("auto_delete"), false, false, arguments(m.args))
	case "queue.bind":
		err = ch.QueueBind(text("queue"), text("routing_key"), text("exchange"), false, nil)
	case "basic.consume":
		var deliveries <-chan amqp.Delivery
		deliveries, err = ch.Consume(text("queue"), text("consumer_tag"), false, false, false, false, arguments(m.args))
		switch {
		case conn == 1:
			p.replies, p.replyQueue = deliveries, text("queue")
		case strings.Contains(text("queue"), "_fanout"):
			p.fan = deliveries
		case strings.HasSuffix(text("queue"), ".host1"):
			p.own = deliveries
		default:
			p.topic = deliveries
		}
	case "confirm.select":
		err = ch.Confirm(false)
	default:
		p.t.Fatalf("the peer knows nothing of %s", m.name)
	}
	if err != nil {
		p.t.Fatalf("the peer's %s %v: %v", m.name, m.args, err)
	}
}

// arguments are the x- arguments of a golden method.
func arguments(args map[string]any) amqp.Table {
	t := amqp.Table{}
	x, _ := args["arguments"].(map[string]any)
	for name, value := range x {
		if n, ok := value.(float64); ok {
			value = int64(n)
		}
		t[name] = value
	}
	return t
}

// publish sends a recorded message, with another key or body where given, and
// waits for the broker's confirmation.
func (p *peer) publish(kind, key string, body []byte) {
	p.t.Helper()
	m := p.held[kind]
	if key == "" {
		key, _ = m.args["routing_key"].(string)
	}
	if body == nil {
		body = m.body
	}
	conn := 2
	if kind == "answer" {
		conn = 3
	}
	expiration, _ := m.properties["expiration"].(string)
	mandatory, _ := m.args["mandatory"].(bool)
	confirmation, err := p.channels[conn].PublishWithDeferredConfirm(m.args["exchange"].(string), key, mandatory, false, amqp.Publishing{
		ContentType: m.properties["content_type"].(string), ContentEncoding: m.properties["content_encoding"].(string),
		DeliveryMode: amqp.Persistent, Expiration: expiration, Headers: amqp.Table{}, Body: body,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if ok, err := confirmation.WaitContext(p.t.Context()); err != nil || !ok {
		p.t.Fatalf("the peer's %s is not confirmed: %v", kind, err)
	}
}
