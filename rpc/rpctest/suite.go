// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
)

// Pair is what a check of the conformance suite runs on: two peers of one broker and
// raw access to the broker.
type Pair struct {
	Server rpc.Transport
	Client rpc.Transport
	Wire   Wire
	// MaxMessage is the size of the largest message that the broker accepts; 0 means
	// unknown.
	MaxMessage int
}

// Wire handles raw messages. Its methods fail the test on an error.
type Wire interface {
	// Bind declares the shared queue of the target, as a server would, and returns its
	// name.
	Bind(target rpc.Target) string
	// Declare makes a queue that the default exchange reaches.
	Declare(queue string)
	Delete(queue string)
	Put(queue string, m RawMessage)
	// Get waits for a message and removes it; false means that none came within that
	// time.
	Get(queue string, within time.Duration) (RawMessage, bool)
	// Len returns the number of waiting messages.
	Len(queue string) int
}

// check is one item of the conformance checklist, named after it.
type check struct {
	name string
	run  func(t *testing.T, h *harness)
}

// Run checks that a transport carries the protocol. connect makes a new pair for
// each check, whose cleanup it registers with the test.
func Run(t *testing.T, connect func(t *testing.T) Pair) {
	t.Helper()
	for _, c := range suite() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, newHarness(t, connect(t)))
		})
	}
}

// suite lists all checks.
func suite() []check {
	return slices.Concat(requestChecks, replyChecks, clientChecks, acceptChecks, contextChecks, surviveChecks, hostileChecks, notifyChecks, startChecks, limitChecks)
}

// soon is longer than any expected event takes; briefly is long enough for an
// unexpected event to show.
const (
	soon    = time.Minute
	briefly = 400 * time.Millisecond
)

// harness is a pair with a topic of its own.
type harness struct {
	Pair
	t      *testing.T
	ctx    context.Context
	target rpc.Target
}

func newHarness(t *testing.T, p Pair) *harness {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return &harness{Pair: p, t: t, ctx: ctx, target: rpc.Target{Topic: "t" + rpc.NewID()[:12], Server: "host.one"}}
}

// serve starts a server on the target and stops it with the test.
func (h *harness) serve(o rpc.ServerOptions, endpoints ...rpc.Endpoint) *rpc.Server {
	h.t.Helper()
	return h.serveAt(h.target, o, endpoints...)
}

func (h *harness) serveAt(target rpc.Target, o rpc.ServerOptions, endpoints ...rpc.Endpoint) *rpc.Server {
	h.t.Helper()
	s, err := rpc.NewServer(h.Server, target, endpoints, o)
	if err != nil {
		h.t.Fatalf("NewServer: %v", err)
	}
	if err := s.Start(h.ctx); err != nil {
		h.t.Fatalf("Start: %v", err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			h.t.Errorf("Stop: %v", err)
		}
	})
	return s
}

// client returns a client of the topic.
func (h *harness) client(o rpc.ClientOptions) *rpc.Client {
	if o.Timeout == 0 {
		o.Timeout = soon
	}
	return rpc.NewClient(h.Client, rpc.Target{Topic: h.target.Topic}, o)
}

// queue returns the name of the shared queue of the topic.
func (h *harness) queue() string { return h.Wire.Bind(rpc.Target{Topic: h.target.Topic}) }

// methods returns an endpoint of AtMostOnce methods.
func methods(version string, m map[string]rpc.Handler) rpc.Endpoint {
	e := rpc.Endpoint{Version: version, Methods: map[string]rpc.Method{}}
	for name, handler := range m {
		e.Methods[name] = rpc.Method{Handler: handler}
	}
	return e
}

func returns(v any) rpc.Handler {
	return func(context.Context, *rpc.Request) (any, error) { return v, nil }
}

// envelope wraps a payload text as every sender must do.
func wrapped(payload string) []byte {
	text, _ := json.Marshal(payload)
	return []byte(`{"oslo.version": "2.0", "oslo.message": ` + string(text) + `}`)
}

// jsonMessage returns a message with the usual properties.
func jsonMessage(body []byte) RawMessage {
	return RawMessage{ContentType: rpc.ContentType, ContentEncoding: rpc.ContentEncoding, DeliveryMode: 2, Body: body}
}

// reply is the payload of a message on a reply queue.
type reply struct {
	Result   any     `json:"result"`
	Failure  *string `json:"failure"`
	Ending   bool    `json:"ending"`
	MsgID    string  `json:"_msg_id"`
	UniqueID string  `json:"_unique_id"`
}

// failure is the object in the failure member of a reply.
type failure struct {
	Class   string         `json:"class"`
	Module  string         `json:"module"`
	Message string         `json:"message"`
	TB      []string       `json:"tb"`
	Args    []any          `json:"args"`
	Kwargs  map[string]any `json:"kwargs"`
}

// open returns the payload of an enveloped message.
func (h *harness) open(m RawMessage) []byte {
	h.t.Helper()
	var envelope map[string]string
	if err := json.Unmarshal(m.Body, &envelope); err != nil {
		h.t.Fatalf("body %s: %v", m.Body, err)
	}
	if len(envelope) != 2 || envelope["oslo.version"] != "2.0" {
		h.t.Fatalf("envelope is %v", envelope)
	}
	return []byte(envelope["oslo.message"])
}

// ask sends a raw request with a reply queue of its own and returns that queue.
func (h *harness) ask(members string) string {
	h.t.Helper()
	answers := "reply_" + rpc.NewID()
	h.Wire.Declare(answers)
	h.t.Cleanup(func() { h.Wire.Delete(answers) })
	h.Wire.Put(h.queue(), jsonMessage(wrapped(`{"_msg_id": "m1", "_reply_q": "`+answers+`", `+members+`}`)))
	return answers
}

// answer returns the next reply of a queue.
func (h *harness) answer(queue string) reply {
	h.t.Helper()
	m, ok := h.Wire.Get(queue, soon)
	if !ok {
		h.t.Fatal("no reply")
	}
	var r reply
	if err := json.Unmarshal(h.open(m), &r); err != nil {
		h.t.Fatalf("reply %s: %v", m.Body, err)
	}
	return r
}

// failed returns the failure in the next reply.
func (h *harness) failed(queue string) failure {
	h.t.Helper()
	r := h.answer(queue)
	if r.Failure == nil || r.Result != nil || !r.Ending {
		h.t.Fatalf("reply is no failure: %+v", r)
	}
	var f failure
	if err := json.Unmarshal([]byte(*r.Failure), &f); err != nil {
		h.t.Fatalf("failure %s: %v", *r.Failure, err)
	}
	return f
}

// silent checks that no message arrives in the queue.
func (h *harness) silent(queue string) {
	h.t.Helper()
	if m, ok := h.Wire.Get(queue, briefly); ok {
		h.t.Fatalf("unexpected message %s", m.Body)
	}
}

// wait receives from a channel of signals.
func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// until polls for a state of the broker, which sends no notice of it.
func (h *harness) until(what string, ok func() bool) {
	h.t.Helper()
	for !ok() {
		if h.ctx.Err() != nil {
			h.t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// successor serves the same queue and reports the requests it receives.
func (h *harness) successor() <-chan *rpc.Request {
	requests := make(chan *rpc.Request, 4)
	other := h.target
	other.Server = "host.two"
	h.serveAt(other, rpc.ServerOptions{}, accepting(func(_ context.Context, r *rpc.Request) (any, error) {
		requests <- r
		return "second", nil
	}))
	return requests
}

func (h *harness) newServer(handler rpc.Handler, delivery rpc.Delivery) *rpc.Server {
	h.t.Helper()
	s, err := rpc.NewServer(h.Server, h.target, []rpc.Endpoint{
		{Methods: map[string]rpc.Method{"start": {Handler: handler, Delivery: delivery}}},
	}, rpc.ServerOptions{})
	if err == nil {
		err = s.Start(h.ctx)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// deserted starts a server whose answers cannot be delivered, and stops it hard.
func (h *harness) deserted() {
	h.t.Helper()
	s, err := rpc.NewServer(h.Server, h.target, []rpc.Endpoint{methods("", map[string]rpc.Handler{"one": returns(1)})},
		rpc.ServerOptions{Grace: time.Second})
	if err == nil {
		err = s.Start(h.ctx)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Stop(ctx)
	})
}

// tooLarge returns a text that exceeds the broker's limit; the test is skipped when the
// limit is unknown.
func (h *harness) tooLarge() string {
	h.t.Helper()
	if h.MaxMessage == 0 {
		h.t.Skip("the limit of the broker is not known")
	}
	return strings.Repeat("x", h.MaxMessage)
}

// carrier is the part of a transport that notifications use.
func (h *harness) carrier(t rpc.Transport) notify.Transport {
	h.t.Helper()
	c, ok := t.(notify.Transport)
	if !ok {
		h.t.Fatalf("%T carries no notifications", t)
	}
	return c
}

// notifier publishes to topics of its own check and removes the queues of the priority
// at the end.
func (h *harness) notifier(p notify.Priority, topics ...string) *notify.Notifier {
	h.t.Helper()
	for _, topic := range topics {
		h.forget(topic + "." + string(p))
	}
	o := notify.Options{Now: func() time.Time { return time.Date(2026, 11, 22, 15, 46, 41, 700999000, time.UTC) }}
	return notify.New("svc.host1", o, notify.Messaging(h.carrier(h.Client), notify.MessagingOptions{Topics: topics}))
}

// forget deletes a queue that the check creates.
func (h *harness) forget(queue string) { h.t.Cleanup(func() { h.Wire.Delete(queue) }) }

// listen starts a listener for one priority and stops it with the check.
func (h *harness) listen(o notify.ListenerOptions, p notify.Priority, handler notify.Handler, topics ...string) *notify.Listener {
	h.t.Helper()
	return h.listenOn(h.carrier(h.Server), o, p, handler, topics...)
}

func (h *harness) listenOn(c notify.Transport, o notify.ListenerOptions, p notify.Priority, handler notify.Handler, topics ...string) *notify.Listener {
	h.t.Helper()
	var sources []notify.Source
	for _, topic := range topics {
		sources = append(sources, notify.Source{Topic: topic})
	}
	endpoint := notify.Endpoint{Handlers: map[notify.Priority]notify.Handler{p: handler}}
	l, err := notify.NewListener(c, sources, []notify.Endpoint{endpoint}, o)
	if err == nil {
		err = l.Start(h.ctx)
	}
	if err != nil {
		h.t.Fatalf("listener: %v", err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if err := l.Stop(ctx); err != nil {
			h.t.Errorf("Stop: %v", err)
		}
	})
	return l
}

// members takes a notification off its queue.
func (h *harness) members(queue string) (RawMessage, map[string]any) {
	h.t.Helper()
	m, ok := h.Wire.Get(queue, soon)
	if !ok {
		h.t.Fatalf("nothing in %s", queue)
	}
	var members map[string]any
	if err := json.Unmarshal(h.open(m), &members); err != nil {
		h.t.Fatal(err)
	}
	return m, members
}

// disturbedStarts starts one server or listener after another on the same transport and
// interrupts each start at a different point, from the beginning to some time after the
// end. Each start must return, and leave nothing behind that prevents the next.
func (h *harness) disturbedStarts(create func() startable) {
	h.t.Helper()
	begin := time.Now()
	first := create()
	if err := first.Start(h.ctx); err != nil {
		h.t.Fatal(err)
	}
	if err := first.Stop(h.ctx); err != nil {
		h.t.Fatal(err)
	}
	whole := time.Since(begin) // with the stop
	const points = 48
	for i := range points {
		s := create()
		ctx, cancel := context.WithCancel(h.ctx)
		disturbed, started := signal(), signal()
		time.AfterFunc(whole*time.Duration(i)/points, func() { disturbed <- disturbances[i%len(disturbances)](s, cancel) })
		go func() { started <- s.Start(ctx) }()
		err := wait(h.t, started, "the start")
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, rpc.ErrStopped) {
			h.t.Errorf("start %d: %v", i, err)
		}
		if err := wait(h.t, disturbed, "the disturbance"); err != nil {
			h.t.Errorf("disturbance %d: %v", i, err)
		}
		stopped := signal()
		go func() { stopped <- s.Stop(h.ctx) }()
		if err := wait(h.t, stopped, "the stop"); err != nil {
			h.t.Errorf("stop %d: %v", i, err)
		}
		cancel()
	}
}

// traffic calls send repeatedly until the returned function is called, which returns
// the names of the messages sent.
func (h *harness) traffic(send func(name string) error) func() []string {
	end := make(chan struct{})
	var sent []string
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
			}
			name := rpc.NewID()
			if err := send(name); err != nil {
				h.t.Errorf("sending: %v", err)
				return
			}
			sent = append(sent, name)
		}
	})
	return func() []string {
		close(end)
		sending.Wait()
		return sent
	}
}

// serveBreaking serves each handler with both deliveries, the UntilAccepted ones with
// "start-" before their names. It uses one worker, so that a single lost slot stops the
// server.
func (h *harness) serveBreaking(o rpc.ServerOptions, handlers map[string]rpc.Handler) []string {
	h.t.Helper()
	e := rpc.Endpoint{Methods: map[string]rpc.Method{"next": {Handler: returns("alive")}}}
	for name, handler := range handlers {
		e.Methods[name] = rpc.Method{Handler: handler}
		e.Methods["start-"+name] = rpc.Method{Handler: handler, Delivery: rpc.UntilAccepted}
	}
	o.Workers = 1
	h.serve(o, e)
	names := slices.Sorted(maps.Keys(e.Methods))
	return slices.DeleteFunc(names, func(name string) bool { return name == "next" })
}

// alive checks that the only worker still serves.
func (h *harness) alive() {
	h.t.Helper()
	if r := h.answer(h.ask(`"method": "next"`)); r.Result != "alive" {
		h.t.Errorf("%+v", r)
	}
}
