// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

func TestChecklist11_TransientQuorumQueuesBesideAPeer(t *testing.T) {
	t.Parallel()
	besideAPeer(t, "transient_quorum", "transient_quorum+quorum+limit")
}

func TestChecklist11_StreamFanoutsBesideAPeer(t *testing.T) {
	t.Parallel()
	besideAPeer(t, "stream", "full-modern")
}

func TestChecklist62_QueueManagerBesideAPeer(t *testing.T) {
	t.Parallel()
	besideAPeer(t, "queue_manager")
}

// besideAPeer lets servers and clients of ours share exchange, topic and fanout
// with a peer of 18.1.0, whoever has declared them first.
func besideAPeer(t *testing.T, cases ...string) {
	t.Helper()
	u := brokerURL(t)
	for _, name := range cases {
		for _, first := range []string{"the peer", "we"} {
			t.Run(name+", "+first+" first", func(t *testing.T) {
				t.Parallel()
				newMixed(t, u, name, first == "the peer").talk()
			})
		}
	}
}

// mixed is a topic with the peer as host1 and servers of ours as two and three.
type mixed struct {
	t      *testing.T
	ctx    context.Context
	target rpc.Target
	peer   *peer
	// transport is that of the client.
	transport *rabbit.Transport
	// recorders have what two, three and the client send.
	recorders [3]*recorder
	notes     chan string
}

func newMixed(t *testing.T, u *rpc.TransportURL, name string, peerFirst bool) *mixed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*soon)
	t.Cleanup(cancel)
	g := readGoldenCase(t, name)
	m := &mixed{
		t: t, ctx: ctx, target: rpc.Target{Exchange: "x" + rpc.NewID()[:10], Topic: "n" + rpc.NewID()[:10]},
		notes: make(chan string, 16),
	}
	// It is the first to be made, so the last to go.
	w := newWire(t, u)
	t.Cleanup(func() {
		for _, r := range m.recorders {
			for _, methods := range r.all() {
				for _, o := range methods {
					if o.name == "queue.declare" {
						w.queues[o.args["queue"].(string)] = true
					}
				}
			}
		}
		for _, exchange := range []string{m.target.Exchange, m.target.Topic + "_fanout"} {
			_ = w.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) })
		}
	})
	if peerFirst {
		m.peer = newPeer(w, g, m.target)
	}
	process := "p" + rpc.NewID()[:8]
	var url [3]*rpc.TransportURL
	for i := range m.recorders {
		m.recorders[i], url[i] = record(t, u)
	}
	m.serve(connect(t, url[0], g.options(t, process)), "two")
	m.serve(connect(t, url[1], g.options(t, process)), "three")
	m.transport = connect(t, url[2], g.options(t, process))
	if !peerFirst {
		m.peer = newPeer(w, g, m.target)
	}
	return m
}

func (m *mixed) serve(tr *rabbit.Transport, name string) {
	m.t.Helper()
	target := m.target
	target.Server = name
	server, err := rpc.NewServer(tr, target, []rpc.Endpoint{{Methods: map[string]rpc.Method{
		"echo": {Handler: func(_ context.Context, r *rpc.Request) (any, error) { return r.Args, nil }},
		"note": {Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			m.notes <- name + string(r.Args["k"])
			return nil, nil
		}},
	}}}, rpc.ServerOptions{Log: quiet()})
	if err == nil {
		err = server.Start(m.ctx)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			m.t.Errorf("Stop: %v", err)
		}
	})
}

// talk lets calls and fanouts go both ways.
func (m *mixed) talk() {
	m.t.Helper()
	m.theyCall()
	m.weCall()
	m.fanout("f", func() { m.peer.publish("fanout", "", nil) })
	m.fanout("ours", func() {
		c := rpc.NewClient(m.transport, m.target, rpc.ClientOptions{}).Prepare(func(to *rpc.Target) { to.Fanout = true })
		if err := c.Cast(m.ctx, nil, "note", map[string]any{"k": "ours"}); err != nil {
			m.t.Fatalf("fanout: %v", err)
		}
	})
	m.sameDeclarations()
}

// payload takes a message from the broker and opens it.
func (m *mixed) payload(from <-chan amqp.Delivery, what string, v any) {
	m.t.Helper()
	select {
	case d := <-from:
		var e map[string]string
		if err := errors.Join(d.Ack(false), json.Unmarshal(d.Body, &e), json.Unmarshal([]byte(e["oslo.message"]), v)); err != nil {
			m.t.Fatalf("%s: %s: %v", what, d.Body, err)
		}
	case <-time.After(soon):
		m.t.Fatalf("waited in vain for %s", what)
	}
}

// theyCall sends the peer's request to a server of ours and awaits the answer in
// the peer's reply queue.
func (m *mixed) theyCall() {
	m.t.Helper()
	m.peer.publish("request", m.target.Topic+".two", nil)
	var answer struct {
		Result  map[string]any
		Failure any
		Ending  bool
	}
	m.payload(m.peer.replies, "the answer to the peer", &answer)
	if answer.Result["a"] != "x" || answer.Failure != nil || !answer.Ending {
		m.t.Errorf("the peer got %+v", answer)
	}
}

// weCall lets the peer answer a call of ours, after it has declared our reply
// queue as its own were declared.
func (m *mixed) weCall() {
	m.t.Helper()
	target := m.target
	target.Server = "host1"
	got := make(chan error, 1)
	var result map[string]any
	go func() {
		got <- rpc.NewClient(m.transport, target, rpc.ClientOptions{Timeout: soon}).Call(m.ctx, nil, "echo", map[string]any{"a": "x"}, &result)
	}()
	var request map[string]any
	m.payload(m.peer.own, "our request", &request)
	id, queue := request["_msg_id"].(string), request["_reply_q"].(string)
	for _, op := range m.peer.Ops {
		if op.Conn == 1 && op.Method == "queue.declare" {
			args := maps.Clone(op.Args)
			args["queue"] = queue
			m.peer.do(1, method{name: op.Method, args: args})
		}
	}
	theirs := goldenHex.FindString(string(m.peer.held["answer"].body)[strings.Index(string(m.peer.held["answer"].body), "_msg_id"):])
	m.peer.publish("answer", queue, []byte(strings.ReplaceAll(string(m.peer.held["answer"].body), theirs, id)))
	if err := <-got; err != nil || cmp.Diff(map[string]any{"a": "x"}, result["kw"]) != "" {
		m.t.Errorf("our call of the peer: %v, %v", result, err)
	}
}

// fanout wants both servers of ours and the peer to get one note.
func (m *mixed) fanout(k string, send func()) {
	m.t.Helper()
	send()
	var by []string
	for range 2 {
		select {
		case note := <-m.notes:
			by = append(by, note)
		case <-time.After(soon):
			m.t.Fatalf("fanout %s: waited in vain, got %q", k, by)
		}
	}
	slices.Sort(by)
	if diff := cmp.Diff([]string{`three"` + k + `"`, `two"` + k + `"`}, by); diff != "" {
		m.t.Error(diff)
	}
	var note struct{ Args map[string]any }
	m.payload(m.peer.fan, "the fanout at the peer", &note)
	if note.Args["k"] != k {
		m.t.Errorf("the peer got the fanout %v, want %s", note.Args, k)
	}
}

// sameDeclarations compares what server two and the client have sent, method by
// method, with what the peer's have.
func (m *mixed) sameDeclarations() {
	m.t.Helper()
	roles := []struct {
		recording *recorder
		mark      string
	}{
		{m.recorders[0], "basic.consume"}, {m.recorders[2], "basic.consume"},
		{m.recorders[2], "confirm.select"}, {m.recorders[0], "confirm.select"},
	}
	for conn, role := range roles {
		var want, got []string
		for _, op := range m.peer.Ops {
			// The prefetch is in another place of ours: it has its own test.
			if op.Conn == conn && op.Method != "basic.qos" && op.Method != "queue.delete" && op.Method != "basic.publish" {
				want = append(want, m.plain(method{name: op.Method, args: op.Args}, m.peer.ours))
			}
		}
		for _, methods := range role.recording.all() {
			if !slices.ContainsFunc(methods, func(o method) bool { return o.name == role.mark }) {
				continue
			}
			for _, o := range methods {
				if !strings.HasPrefix(o.name, "connection.") && o.name != "basic.publish" && o.name != "queue.delete" {
					got = append(got, m.plain(o, func(text string) string { return text }))
				}
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(slices.Compact(want), slices.Compact(got)); diff != "" {
			m.t.Errorf("connection %d: %s", conn, diff)
		}
	}
}

// plain is a method without arguments that are false or empty, and without what
// makes a name differ from server to server.
func (m *mixed) plain(o method, rename func(string) string) string {
	m.t.Helper()
	args := map[string]any{}
	for name, value := range o.args {
		switch v := value.(type) {
		case string:
			value = strings.ReplaceAll(rename(v), ".host1", ".two")
			value = queueManagerName.ReplaceAllString(goldenHex.ReplaceAllString(value.(string), "ID"), "_ID")
		case map[string]any:
			if len(v) == 0 {
				continue
			}
		}
		if value != false && value != "" {
			args[name] = value
		}
	}
	text, err := json.Marshal(args)
	if err != nil {
		m.t.Fatal(err)
	}
	return o.name + " " + string(text)
}
