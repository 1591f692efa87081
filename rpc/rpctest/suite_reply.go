// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

// replyChecks cover when and how a server answers.
var replyChecks = []check{
	{"Checklist17_NilIsNull", checkNil},
	{"Checklist18_ReplyOnTheWire", checkReplyForm},
	{"Checklist18_EncodedResult", checkEncoded},
	{"Checklist26_Heartbeats", checkHeartbeats},
	{"Checklist27_NoHeartbeatsUnasked", checkNoHeartbeats},
	{"Checklist28_MissingReplyQueue", checkMissingReplyQueue},
	{"Checklist29_BoundedWorkers", checkWorkers},
	{"Checklist31_ResultThatCannotBeEncoded", checkUnencodable},
	{"Checklist34_StopLosesNothing", checkStop},
	{"CancelTakesNoMore", checkCancel},
	{"Checklist36_FailureOnTheWire", checkFailureForm},
}

func checkNil(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{"none": returns(nil)}))
	if r := h.answer(h.ask(`"method": "none"`)); r.Result != nil || r.Failure != nil || !r.Ending || r.MsgID != "m1" {
		t.Errorf("%+v", r)
	}
	got := any("untouched")
	if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "none", nil, &got); err != nil || got != "untouched" {
		t.Errorf("%v, %v", got, err)
	}
}

var hex32 = regexp.MustCompile(`^[0-9a-f]{32}$`)

func checkReplyForm(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{"one": returns(1)}))
	m, ok := h.Wire.Get(h.ask(`"method": "one"`), soon)
	if !ok {
		t.Fatal("no reply")
	}
	body := m.Body
	m.Body = nil
	if diff := cmp.Diff(jsonMessage(nil), m); diff != "" {
		t.Errorf("properties: %s", diff)
	}
	m.Body = body
	var got map[string]any
	if err := json.Unmarshal(h.open(m), &got); err != nil {
		t.Fatal(err)
	}
	if id, _ := got["_unique_id"].(string); !hex32.MatchString(id) {
		t.Errorf("unique id %q", id)
	}
	delete(got, "_unique_id")
	if diff := cmp.Diff(map[string]any{"result": 1.0, "failure": nil, "ending": true, "_msg_id": "m1"}, got); diff != "" {
		t.Error(diff)
	}
}

// A caller cannot tell an Encoded result from any other.
func checkEncoded(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{"list": returns(rpc.Encoded(`[{"a": 1}]`))}))
	var got []map[string]int
	if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "list", nil, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]map[string]int{{"a": 1}}, got); diff != "" {
		t.Error(diff)
	}
}

func checkHeartbeats(t *testing.T, h *harness) {
	release := make(chan struct{})
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"slow": func(context.Context, *rpc.Request) (any, error) { <-release; return "done", nil },
	}))
	slow := h.ask(`"method": "slow", "_timeout": 2`)
	missing := h.ask(`"method": "nosuch", "_timeout": 2`)
	beat := func() (r reply, ended bool) {
		t.Helper()
		r = h.answer(slow)
		if !r.Ending && (r.Result != nil || r.Failure != nil || r.MsgID != "m1" || !hex32.MatchString(r.UniqueID)) {
			t.Errorf("heartbeat: %+v", r)
		}
		return r, r.Ending
	}
	for range 3 {
		if r, ended := beat(); ended {
			t.Fatalf("an answer instead of a heartbeat: %+v", r)
		}
	}
	close(release)
	r, ended := beat()
	for !ended { // one more may have been on its way
		r, ended = beat()
	}
	if r.Result != "done" {
		t.Errorf("answer: %+v", r)
	}
	h.failed(missing)
	h.silent(missing)
	// This is more than one further interval without heartbeats after the end.
	if m, ok := h.Wire.Get(slow, 1200*time.Millisecond); ok {
		t.Errorf("after the answer: %s", m.Body)
	}
}

func checkNoHeartbeats(t *testing.T, h *harness) {
	release := make(chan struct{})
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"slow": func(context.Context, *rpc.Request) (any, error) { <-release; return "done", nil },
	}))
	var queues []string
	for _, timeout := range []string{"", `, "_timeout": null`, `, "_timeout": 0`, `, "_timeout": 1`, `, "_timeout": "abc"`, `, "_timeout": -5`, `, "_timeout": {}`} {
		queues = append(queues, h.ask(`"method": "slow"`+timeout))
	}
	time.AfterFunc(1300*time.Millisecond, func() { close(release) })
	for _, q := range queues {
		if r := h.answer(q); !r.Ending {
			t.Errorf("heartbeat without need: %+v", r)
		}
	}
}

func checkMissingReplyQueue(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{Workers: 1}, methods("", map[string]rpc.Handler{"one": returns(1)}))
	missing := "reply_" + rpc.NewID()
	h.Wire.Put(h.queue(), jsonMessage(wrapped(`{"method": "one", "_msg_id": "late", "_reply_q": "`+missing+`"}`)))
	// Other requests are answered meanwhile, although there is only one worker.
	if r := h.answer(h.ask(`"method": "one"`)); r.Result != 1.0 {
		t.Errorf("%+v", r)
	}
	h.Wire.Declare(missing)
	defer h.Wire.Delete(missing)
	if r := h.answer(missing); r.Result != 1.0 || r.MsgID != "late" {
		t.Errorf("%+v", r)
	}
	h.silent(missing)
}

func checkWorkers(t *testing.T, h *harness) {
	const workers, calls = 5, 200
	started, release := make(chan struct{}, calls), make(chan struct{})
	var running, most atomic.Int32
	h.serve(rpc.ServerOptions{Workers: workers}, methods("", map[string]rpc.Handler{
		"slow": func(context.Context, *rpc.Request) (any, error) {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			started <- struct{}{}
			<-release
			running.Add(-1)
			return nil, nil
		},
	}))
	errs := make(chan error, calls)
	c := h.client(rpc.ClientOptions{Timeout: time.Minute})
	for range calls {
		go func() { errs <- c.Call(h.ctx, nil, "slow", nil, nil) }()
	}
	for range workers {
		wait(t, started, "a handler")
	}
	select {
	case <-started:
		t.Error("one handler too many")
	case <-time.After(briefly):
	}
	close(release)
	for range calls {
		if err := wait(t, errs, "a call"); err != nil {
			t.Error(err)
		}
	}
	if m := most.Load(); m != workers {
		t.Errorf("%d handlers at once, want %d", m, workers)
	}
}

func checkUnencodable(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"bad":     returns(func() {}),
		"badText": returns(json.RawMessage(`{`)),
	}))
	for _, method := range []string{"bad", "badText"} {
		if f := h.failed(h.ask(`"method": "` + method + `"`)); f.Class != "RuntimeError" || f.Module != "builtins" {
			t.Errorf("%+v", f)
		}
	}
}

func checkStop(t *testing.T, h *harness) {
	started, release := make(chan struct{}, 16), make(chan struct{})
	slow := methods("", map[string]rpc.Handler{
		"slow": func(context.Context, *rpc.Request) (any, error) {
			started <- struct{}{}
			<-release
			return "one", nil
		},
		"quick": returns("one"),
	})
	s := h.serve(rpc.ServerOptions{Workers: 1}, slow)
	c := h.client(rpc.ClientOptions{})
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 16)
	call := func(method string) {
		var a answer
		a.err = c.Call(h.ctx, nil, method, nil, &a.text)
		answers <- a
	}
	go call("slow")
	wait(t, started, "the slow call")
	for range 5 {
		go call("quick")
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(h.ctx) }()
	// A second server takes over the requests that the first has not started.
	other := h.target
	other.Server = "host.two"
	h.serveAt(other, rpc.ServerOptions{}, methods("", map[string]rpc.Handler{"quick": returns("two")}))
	for range 5 {
		if a := wait(t, answers, "a quick call"); a.err != nil || a.text != "two" {
			t.Errorf("%+v", a)
		}
	}
	close(release)
	if err := wait(t, stopped, "the stop"); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if a := wait(t, answers, "the slow call"); a.err != nil || a.text != "one" {
		t.Errorf("%+v", a)
	}
}

// checkCancel runs two servers: the first answers no request that comes after its
// Cancel, but finishes the request that it had begun.
func checkCancel(t *testing.T, h *harness) {
	started, release := make(chan struct{}, 1), make(chan struct{})
	first := h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"slow": func(context.Context, *rpc.Request) (any, error) {
			started <- struct{}{}
			<-release
			return "one", nil
		},
		"who": returns("one"),
	}))
	c := h.client(rpc.ClientOptions{})
	slow := make(chan string, 1)
	go func() {
		var answer string
		if err := c.Call(h.ctx, nil, "slow", nil, &answer); err != nil {
			answer = err.Error()
		}
		slow <- answer
	}()
	wait(t, started, "the slow call")
	other := h.target
	other.Server = "host.two"
	h.serveAt(other, rpc.ServerOptions{}, methods("", map[string]rpc.Handler{"who": returns("two")}))
	for range 2 {
		if err := first.Cancel(h.ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		var answer string
		if err := c.Call(h.ctx, nil, "who", nil, &answer); err != nil || answer != "two" {
			t.Errorf("%q, %v", answer, err)
		}
	}
	close(release)
	if answer := wait(t, slow, "the slow call"); answer != "one" {
		t.Errorf("the slow call: %s", answer)
	}
	if err := first.Stop(h.ctx); err != nil {
		t.Error(err)
	}
}

// remoteError is a Go error with a Python class.
type remoteError struct{ args []any }

func (remoteError) Error() string          { return "no <such> plan é" }
func (remoteError) Module() string         { return "karbor.exception" }
func (remoteError) Class() string          { return "PlanNotFound" }
func (e remoteError) Args() []any          { return e.args }
func (remoteError) Kwargs() map[string]any { return map[string]any{"code": 404} }

func checkFailureForm(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{Failure: func(_ context.Context, r *rpc.Request, err error) *rpc.Failure {
		return &rpc.Failure{Module: "hook", Class: r.Method, Message: err.Error()}
	}}, methods("", map[string]rpc.Handler{
		"remote": func(context.Context, *rpc.Request) (any, error) {
			return 1, errors.Join(errors.New("context"), remoteError{args: []any{"text", 1}})
		},
		"odd": func(context.Context, *rpc.Request) (any, error) { return nil, remoteError{args: []any{func() {}}} },
		"relayed": func(context.Context, *rpc.Request) (any, error) {
			return nil, &rpc.Failure{Class: "E_Remote", Module: "m_Remote", Message: "x", Traceback: []string{"t\n"}}
		},
		"other": func(context.Context, *rpc.Request) (any, error) { return nil, errors.New("plain") },
	}))
	none, noKw := []string{}, map[string]any{}
	want := map[string]failure{
		"remote":  {"PlanNotFound", "karbor.exception", "no <such> plan é", none, []any{"text", 1.0}, map[string]any{"code": 404.0}},
		"odd":     {"PlanNotFound", "karbor.exception", "no <such> plan é", none, []any{"no <such> plan é"}, noKw},
		"relayed": {"E", "m", "x", []string{"t\n"}, []any{}, noKw},
		"other":   {"other", "hook", "plain", none, []any{}, noKw},
	}
	for _, method := range slices.Sorted(maps.Keys(want)) {
		q := h.ask(`"method": "` + method + `"`)
		if diff := cmp.Diff(want[method], h.failed(q)); diff != "" {
			t.Errorf("%s: %s", method, diff)
		}
	}
}
