// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// goldenMethod is a method that oslo.messaging has sent to a broker.
type goldenMethod struct {
	Version string         `json:"version"`
	Conn    int            `json:"conn"`
	Method  string         `json:"method"`
	Args    map[string]any `json:"args"`
}

// stage is a pair of transports that are recorded, with names of their own in
// place of the golden ones.
type stage struct {
	t                *testing.T
	ctx              context.Context
	exchange, topic  string
	serving, calling *recorder
	server, client   *rabbit.Transport
	wire             *wire
}

func newStage(t *testing.T) *stage {
	t.Helper()
	u := brokerURL(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*soon)
	t.Cleanup(cancel)
	s := &stage{t: t, ctx: ctx, exchange: "x" + rpc.NewID()[:10], topic: "g" + rpc.NewID()[:10], wire: newWire(t, u)}
	var su, cu *rpc.TransportURL
	s.serving, su = record(t, u)
	s.calling, cu = record(t, u)
	s.server, s.client = connect(t, su, rabbit.DefaultOptions()), connect(t, cu, rabbit.DefaultOptions())
	for _, queue := range []string{s.topic, s.topic + ".host1"} {
		s.wire.queues[queue] = true
	}
	t.Cleanup(func() {
		_ = s.wire.try(func(ch *amqp.Channel) error { return ch.ExchangeDelete(s.exchange, false, false) })
	})
	return s
}

func (s *stage) target() rpc.Target {
	return rpc.Target{Exchange: s.exchange, Topic: s.topic, Server: "host1"}
}

// serve answers with what answer gives.
func (s *stage) serve(answer rpc.Handler) (stop func()) {
	s.t.Helper()
	methods := map[string]rpc.Method{}
	for _, name := range []string{"echo", "m"} {
		methods[name] = rpc.Method{Handler: answer}
	}
	server, err := rpc.NewServer(s.server, s.target(), []rpc.Endpoint{{Methods: methods}}, rpc.ServerOptions{Log: quiet()})
	if err == nil {
		err = server.Start(s.ctx)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := server.Stop(s.ctx); err != nil {
			s.t.Error(err)
		}
	}
}

// randomID is what differs from run to run.
var randomID = regexp.MustCompile(`[0-9a-f]{32}`)

// golden gives a name of ours its golden form.
func (s *stage) golden(text string) string {
	text = strings.ReplaceAll(text, s.topic, "karbor-operationengine")
	text = strings.ReplaceAll(text, s.exchange, "openstack")
	return randomID.ReplaceAllString(text, "<id>")
}

// essence is a list of methods without what one run or connection does not share
// with another, each once.
func (s *stage) essence(methods []method) []string {
	var list []string
	known := map[string]bool{}
	for _, m := range methods {
		args := map[string]any{}
		for name, value := range m.args {
			if name == "client_props" || name == "response" {
				continue
			}
			if text, ok := value.(string); ok {
				value = s.golden(text)
			}
			args[name] = value
		}
		text, err := json.Marshal(args)
		if err != nil {
			s.t.Fatal(err)
		}
		line := m.name + " " + string(text)
		if m.name != "basic.publish" && !known[line] {
			known[line] = true
			list = append(list, line)
		}
	}
	return list
}

// goldenEssence is the essence of a golden connection.
func (s *stage) goldenEssence(version string, conn int) []string {
	s.t.Helper()
	text, err := os.ReadFile("testdata/golden-declares.json")
	if err != nil {
		s.t.Fatal(err)
	}
	var all []goldenMethod
	if err := json.Unmarshal(text, &all); err != nil {
		s.t.Fatal(err)
	}
	var methods []method
	for _, g := range all {
		if g.Version == version && g.Conn == conn {
			methods = append(methods, method{name: g.Method, args: g.Args})
		}
	}
	if len(methods) == 0 {
		s.t.Fatalf("no golden methods of %s, connection %d", version, conn)
	}
	return s.essence(methods)
}

// connection finds the recorded connection that has sent the method.
func (s *stage) connection(r *recorder, name string) []string {
	s.t.Helper()
	for _, methods := range r.all() {
		list := s.essence(methods)
		for _, line := range list {
			if strings.HasPrefix(line, name+" ") {
				return list
			}
		}
	}
	s.t.Fatalf("no connection has sent %s", name)
	return nil
}

// Server, caller and sender declare, method by method, what both versions of
// oslo.messaging do. Connection numbers are those of the recording.
func TestGoldenDeclares_RPC(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	stop := s.serve(func(context.Context, *rpc.Request) (any, error) { return nil, nil })
	c := rpc.NewClient(s.client, rpc.Target{Exchange: s.exchange, Topic: s.topic}, rpc.ClientOptions{Timeout: soon})
	if err := c.Call(s.ctx, nil, "echo", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Prepare(func(to *rpc.Target) { to.Fanout = true }).Cast(s.ctx, nil, "echo", nil); err != nil {
		t.Fatal(err)
	}
	stop()
	for version, conns := range map[string]struct{ server, replies, requests, answers int }{
		"14.0.3": {2, 3, 4, 5}, "18.1.0": {1, 2, 3, 4},
	} {
		for role, pair := range map[string][2][]string{
			"server":   {s.goldenEssence(version, conns.server), s.connection(s.serving, "basic.consume")},
			"replies":  {s.goldenEssence(version, conns.replies), s.connection(s.calling, "basic.consume")},
			"requests": {s.goldenEssence(version, conns.requests), s.connection(s.calling, "confirm.select")},
			"answers":  {s.goldenEssence(version, conns.answers), s.connection(s.serving, "confirm.select")},
		} {
			if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
				t.Errorf("%s, %s: %s", version, role, diff)
			}
		}
	}
}

func TestGoldenDeclares_Notifications(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	notifications, extra, old, pool := s.topic+"n", s.topic+"e", s.topic+"o", s.topic+"p"
	rename := strings.NewReplacer(notifications, "notifications", extra, "extra", old, "old", pool, "mypool")
	for _, topic := range []string{notifications, extra, old} {
		for _, p := range []string{"audit", "debug", "info", "warn", "error", "critical", "sample"} {
			s.wire.queues[topic+"."+p] = true
		}
	}
	s.wire.queues[pool] = true
	send := func(p notify.Priority, topics ...string) {
		n := notify.New("p", notify.Options{}, notify.Messaging(s.client, notify.MessagingOptions{Exchange: s.exchange, Topics: topics}))
		if err := n.Notify(s.ctx, nil, p, "e", nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []notify.Priority{notify.Info, notify.Error, notify.Audit, notify.Debug, notify.Warn, notify.Critical, notify.Sample} {
		send(p, notifications, extra)
	}
	send(notify.Info, old)
	take := func(context.Context, *notify.Event) error { return nil }
	endpoints := []notify.Endpoint{{Handlers: map[notify.Priority]notify.Handler{notify.Info: take, notify.Error: take}}}
	check := func(role string, conn int, r *recorder, name string) {
		got := s.connection(r, name)
		for i := range got {
			got[i] = rename.Replace(strings.ReplaceAll(got[i], "karbor-operationengine", s.topic))
		}
		want := s.goldenEssence("14.0.3 notifications", conn)
		if role == "notifier" {
			// Python declares the exchange twice before the first confirm.select.
			want, got = sorted(want), sorted(got)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", role, diff)
		}
	}
	check("notifier", 1, s.calling, "confirm.select")
	for conn, o := range map[int]notify.ListenerOptions{2: {}, 3: {Pool: pool}} {
		r, u := record(t, brokerURL(t))
		l, err := notify.NewListener(connect(t, u, rabbit.DefaultOptions()), []notify.Source{{Exchange: s.exchange, Topic: notifications}}, endpoints, o)
		if err == nil {
			err = l.Start(s.ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Stop(s.ctx); err != nil {
			t.Error(err)
		}
		role := "listener"
		if o.Pool != "" {
			role = "pool"
		}
		check(role, conn, r, "basic.consume")
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}
