// SPDX-License-Identifier: Apache-2.0

// Package torture has no code of its own: its tests do to a RabbitMQ node, and to the
// network before it, what goes wrong in operation, while clients call a server.
package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
	"github.com/karbor-project/karbor/rpc/rpctest/faultproxy"
	"github.com/karbor-project/karbor/test/broker"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	// soon is longer than anything that must happen takes.
	soon = 2 * time.Minute
	// callTimeout is how long a call waits whose answer a fault has taken.
	callTimeout = 10 * time.Second
	// heartbeat, in seconds, finds half-open connections while the test waits.
	heartbeat = 3
	workers   = 8
)

// world is a node, and a server and a client that reach it by a proxy each.
type world struct {
	t      *testing.T
	node   *broker.Node
	folder string // of the node
	topic  string
	server end
	client end
	load   *traffic
	names  []string // of the queues, once all were there
}

// end is one side's way to the broker.
type end struct {
	proxy     *faultproxy.Proxy
	transport *rabbit.Transport
	log       *logtest.Hook
}

func (e end) up() bool {
	s := e.transport.Stats()
	return s.Consume.Connected && s.Publish.Connected
}

func (e end) away() bool {
	s := e.transport.Stats()
	return !s.Consume.Connected && !s.Publish.Connected
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, topic: "torture" + rpc.NewID()[:8]}
	w.startNode()
	w.server, w.client = w.join(nil), w.join(nil)
	w.load = newTraffic(w)
	w.load.reached(t, t.Context())
	w.names = w.queues(t)
	return w
}

func (w *world) startNode() {
	w.t.Helper()
	script := os.Getenv(broker.ServerVariable)
	if script == "" {
		w.t.Skipf("%s is not set: with Debian's rabbitmq-server it is /usr/lib/rabbitmq/bin/rabbitmq-server", broker.ServerVariable)
	}
	base := 27000
	if text := os.Getenv("KARBOR_TEST_PORT_BASE"); text != "" {
		var err error
		base, err = strconv.Atoi(text)
		must(w.t, err)
	}
	w.folder = w.t.TempDir()
	var err error
	w.node, err = broker.New(broker.Options{
		Script: script, Folder: w.folder, Name: fmt.Sprintf("karbor-torture-%d", base),
		Ports: [3]int{base + 80, base + 81, base + 82},
	})
	must(w.t, err)
	w.t.Cleanup(w.node.Close)
	w.start()
}

// start starts the node, again or for the first time.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	must(w.t, w.node.Start(ctx))
}

// ctl runs rabbitmqctl, again where it did not get through to the node: it gives a
// busy machine few seconds. What it is asked for here can be done twice.
func (w *world) ctl(t *testing.T, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	for left := 5; ; left-- {
		out, err := w.node.Control(ctx, arguments...)
		if err == nil {
			return out
		}
		if left == 0 || !strings.Contains(err.Error(), "unable to perform an operation on node") {
			t.Fatal(err)
		}
	}
}

// queues are the names of the world's queues, in order. Other clients leave reply
// queues behind, which expire.
func (w *world) queues(t *testing.T) []string {
	t.Helper()
	reply := w.replyQueue(t)
	names := slices.DeleteFunc(strings.Fields(w.ctl(t, "list_queues", "--no-table-headers", "name")), func(name string) bool {
		return name != reply && !strings.HasPrefix(name, w.topic)
	})
	slices.Sort(names)
	return names
}

// options are those of a deployment whose requests outlive the broker, with short
// pauses.
func options() rabbit.Options {
	o := rabbit.DefaultOptions()
	o.DurableQueues = true
	o.HeartbeatThreshold = heartbeat
	o.ReconnectDelay = 0.05
	o.RetryInterval, o.RetryBackoff = 1, 0
	return o
}

// survives has a fault happen amid traffic, and wants everything to be as before when
// it is over. lossy says that messages went down with what the fault removed.
func (w *world) survives(t *testing.T, lossy bool, fault func()) {
	t.Helper()
	w.load.run()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			w.load.stop()
		}
	}
	defer stop()
	w.load.progress(t, 20)
	fault()
	until(t, "both ends and the consumers", func() bool {
		return w.server.up() && w.client.up() && w.server.transport.Stats().Consuming
	})
	w.load.progress(t, 20)
	stop()
	w.load.reached(t, t.Context())
	w.load.judge(t, lossy)
	for _, name := range w.names {
		if n := w.consumers(t, name); n != 1 {
			t.Errorf("queue %s has %d consumers", name, n)
		}
	}
}

// sameQueues holds the names of all queues against those at the beginning. It takes
// rabbitmqctl, which is slow, so that one look is for all faults before it.
func (w *world) sameQueues(t *testing.T) {
	until(t, "subtests' queues to go", func() bool { return len(w.queues(t)) <= len(w.names) })
	if now := w.queues(t); !slices.Equal(now, w.names) {
		t.Errorf("queues were %v, are %v", w.names, now)
	}
}

// proxy is a way to the node that the test ends.
func (w *world) proxy(t *testing.T) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.Start(w.node.Address())
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

// join is an end of the world's own test.
func (w *world) join(edit func(*rabbit.Options)) end {
	w.t.Helper()
	return w.end(w.t, edit)
}

// end makes a proxy and a transport through it.
func (w *world) end(t *testing.T, edit func(*rabbit.Options)) end {
	t.Helper()
	p := w.proxy(t)
	tr, log := connect(t, "rabbit://guest:guest@"+p.Addr()+"/", edit)
	return end{proxy: p, transport: tr, log: log}
}

func connect(t *testing.T, url string, edit func(*rabbit.Options)) (*rabbit.Transport, *logtest.Hook) {
	t.Helper()
	u, err := rpc.ParseTransportURL(url)
	must(t, err)
	o := options()
	if edit != nil {
		edit(&o)
	}
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	if os.Getenv("RPC_TEST_VERBOSE") != "" {
		logger.SetOutput(os.Stderr)
	}
	logger.SetLevel(logrus.DebugLevel)
	hook := logtest.NewLocal(logger)
	tr, err := rabbit.New(u, o, logger)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if err := tr.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return tr, hook
}

// lines counts the lines of a log that have all the words in their text or error, but
// for those that are for debugging.
func lines(log *logtest.Hook, words ...string) (n int) { return count(log, logrus.InfoLevel, words) }

// attempts is lines with those for debugging.
func attempts(log *logtest.Hook, words ...string) (n int) {
	return count(log, logrus.DebugLevel, words)
}

func count(log *logtest.Hook, upTo logrus.Level, words []string) (n int) {
	for _, e := range log.AllEntries() {
		if e.Level > upTo {
			continue
		}
		text := fmt.Sprint(e.Message, " ", e.Data[logrus.ErrorKey])
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			n++
		}
	}
	return n
}

// serve starts a server of its own target, which the test ends.
func serve(t *testing.T, tr rpc.Transport, target rpc.Target, methods map[string]rpc.Method) *rpc.Server {
	t.Helper()
	s, err := rpc.NewServer(tr, target, []rpc.Endpoint{{Methods: methods}}, rpc.ServerOptions{Workers: workers, Ping: true})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return s
}

// begin starts a server.
func begin(t *testing.T, s *rpc.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	must(t, s.Start(ctx))
}

// ping calls the server of a topic.
func ping(t *testing.T, tr rpc.Transport, topic string) {
	t.Helper()
	c := rpc.NewClient(tr, rpc.Target{Topic: topic}, rpc.ClientOptions{Timeout: soon})
	must(t, c.Call(t.Context(), nil, "oslo_rpc_server_ping", nil, nil))
}

// wire has do work on the node beside everybody else.
func (w *world) wire(t *testing.T, do func(*amqp.Channel) error) {
	t.Helper()
	done := w.held(t, do)
	done()
}

// held is wire with a connection that stays until done.
func (w *world) held(t *testing.T, do func(*amqp.Channel) error) (done func()) {
	t.Helper()
	c, err := amqp.Dial("amqp://guest:guest@" + w.node.Address() + "/")
	must(t, err)
	ch, err := c.Channel()
	if err == nil {
		err = do(ch)
	}
	if err != nil {
		must(t, errors.Join(err, c.Close()))
	}
	return func() { _ = c.Close() }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition of the outside world.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
