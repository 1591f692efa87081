// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

// clientChecks cover the requests that a client sends and how it waits for answers.
var clientChecks = []check{
	{"Checklist37_FailureOfACall", checkTypedFailure},
	{"Checklist39_RequestOnTheWire", checkRequestForm},
	{"Checklist40_TimeoutAndLateReply", checkTimeout},
	{"Checklist41_CallMonitor", checkMonitor},
	{"Checklist42_HeartbeatsDoNotExtendTheTimeout", checkMonitorTimeout},
	{"Checklist43_OddReplies", checkOddReplies},
	{"Checklist44_LocalRefusals", checkRefusals},
	{"Checklist45_AtLeastOnce", checkAtLeastOnce},
}

// expectFailure checks that err is the failure of a Python class.
func expectFailure(t *testing.T, err error, class, module string) {
	t.Helper()
	if !errors.Is(err, &rpc.Failure{Class: class, Module: module}) {
		t.Errorf("error is %v, want a failure of %s.%s", err, module, class)
	}
}

func checkTypedFailure(t *testing.T, h *harness) {
	sent := &rpc.Failure{Class: "E_Remote", Module: "m_Remote", Message: "x", Traceback: []string{"t\n"},
		Args: []any{"x"}, Kwargs: map[string]any{"code": json.Number("9007199254740993")}}
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"fail": func(context.Context, *rpc.Request) (any, error) { return nil, sent },
	}))
	err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "fail", nil, nil)
	var got *rpc.Failure
	if !errors.As(err, &got) {
		t.Fatalf("error is %v", err)
	}
	want := *sent
	want.Class, want.Module = "E", "m"
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
}

func checkRequestForm(t *testing.T, h *harness) {
	queue := h.queue()
	c := h.client(rpc.ClientOptions{})
	take := func() (RawMessage, map[string]any) {
		t.Helper()
		m, ok := h.Wire.Get(queue, soon)
		if !ok {
			t.Fatal("no request")
		}
		var got map[string]any
		if err := json.Unmarshal(h.open(m), &got); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"_msg_id", "_unique_id"} {
			if id, ok := got[key].(string); ok && !hex32.MatchString(id) {
				t.Errorf("%s is %q", key, id)
			}
		}
		m.Body = nil
		return m, got
	}
	ctx, giveUp := context.WithCancel(h.ctx)
	defer giveUp()
	errs := make(chan error, 2)
	rc := rpc.Context{"user": json.RawMessage(`"u"`), "client_timeout": json.RawMessage(`5`)}
	full := c.With(func(o *rpc.ClientOptions) { o.CallMonitorTimeout = soon }).Prepare(func(to *rpc.Target) {
		to.Version, to.Namespace = "1.2", "backup"
	})
	go func() { errs <- full.Call(ctx, rc, "run", map[string]any{"x": 1}, nil) }()
	properties, call := take()
	expiring := jsonMessage(nil)
	expiring.Expiration = strconv.FormatInt(soon.Milliseconds(), 10)
	if diff := cmp.Diff(expiring, properties); diff != "" {
		t.Errorf("call: %s", diff)
	}
	want := map[string]any{
		"method": "run", "args": map[string]any{"x": 1.0}, "version": "1.2", "namespace": "backup",
		"_timeout": soon.Seconds(), "_context_user": "u",
		"_msg_id": call["_msg_id"], "_reply_q": call["_reply_q"], "_unique_id": call["_unique_id"],
	}
	if diff := cmp.Diff(want, call); diff != "" || call["_msg_id"] == nil || call["_reply_q"] == nil || call["_unique_id"] == nil {
		t.Errorf("call: %v %s", call, diff)
	}
	go func() { errs <- c.Call(ctx, nil, "run", nil, nil) }()
	_, second := take()
	if v, ok := second["_timeout"]; v != nil || !ok || second["_reply_q"] != call["_reply_q"] || second["_unique_id"] == call["_unique_id"] {
		t.Errorf("second call: %v", second)
	}
	giveUp()
	for range 2 {
		if err := wait(t, errs, "the end of a call"); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	}

	if err := c.Cast(h.ctx, nil, "note", nil); err != nil {
		t.Fatal(err)
	}
	properties, cast := take()
	if diff := cmp.Diff(jsonMessage(nil), properties); diff != "" {
		t.Errorf("cast: %s", diff)
	}
	if diff := cmp.Diff(map[string]any{"method": "note", "args": map[string]any{}, "_unique_id": cast["_unique_id"]}, cast); diff != "" {
		t.Errorf("cast: %s", diff)
	}
}

func checkTimeout(t *testing.T, h *harness) {
	release := make(chan struct{})
	ran := make(chan struct{}, 16)
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"slow": func(context.Context, *rpc.Request) (any, error) { ran <- struct{}{}; <-release; return "late", nil },
		"now":  returns("now"),
	}))
	c := h.client(rpc.ClientOptions{})
	// A request expires with its call: on a busy machine before it is executed.
	for timeout := 200 * time.Millisecond; len(ran) == 0; timeout *= 2 {
		err := c.With(func(o *rpc.ClientOptions) { o.Timeout = timeout }).Call(h.ctx, nil, "slow", nil, nil)
		if !errors.Is(err, rpc.ErrTimeout) {
			t.Fatalf("after %s: error is %v", timeout, err)
		}
	}
	ctx, cancel := context.WithTimeout(h.ctx, 100*time.Millisecond)
	defer cancel()
	if err := c.Call(ctx, nil, "slow", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	close(release)
	var got string
	if err := c.Call(h.ctx, nil, "now", nil, &got); err != nil || got != "now" {
		t.Errorf("call after a late reply: %q, %v", got, err)
	}
}

func checkMonitor(t *testing.T, h *harness) {
	// Heartbeats come at half the timeout, and the handler takes longer than the whole.
	const monitor = 8 * time.Second
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"slow": func(context.Context, *rpc.Request) (any, error) {
			time.Sleep(monitor + time.Second)
			return "done", nil
		},
	}))
	c := h.client(rpc.ClientOptions{CallMonitorTimeout: monitor, Timeout: time.Minute})
	// No server takes this request, so no server sends heartbeats.
	h.Wire.Bind(rpc.Target{Topic: h.target.Topic + "x"})
	lost := make(chan error, 1)
	go func() {
		lost <- c.Prepare(func(to *rpc.Target) { to.Topic += "x" }).Call(h.ctx, nil, "slow", nil, nil)
	}()
	var got string
	if err := c.Call(h.ctx, nil, "slow", nil, &got); err != nil || got != "done" {
		t.Errorf("monitored call: %q, %v", got, err)
	}
	if err := wait(t, lost, "the end of the call that nobody takes"); !errors.Is(err, rpc.ErrTimeout) {
		t.Errorf("error is %v", err)
	}
}

func checkMonitorTimeout(t *testing.T, h *harness) {
	release := make(chan struct{})
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"slow": func(context.Context, *rpc.Request) (any, error) { <-release; return nil, nil },
	}))
	defer close(release)
	c := h.client(rpc.ClientOptions{Timeout: 2500 * time.Millisecond, CallMonitorTimeout: 2 * time.Second})
	if err := c.Call(h.ctx, nil, "slow", nil, nil); !errors.Is(err, rpc.ErrTimeout) {
		t.Errorf("error is %v", err)
	}
}

func checkOddReplies(t *testing.T, h *harness) {
	queue := h.queue()
	c := h.client(rpc.ClientOptions{})
	type answer struct {
		value any
		err   error
	}
	answers := make(chan answer, 1)
	for name, parts := range map[string][]string{
		"two parts":     {`"result": "first", "failure": null, "ending": false`, `"result": null, "failure": null, "ending": true, "log_failure": true`},
		"strange":       {`"result": "other", "_msg_id": "unknown", "ending": true`, `"failure": false, "result": "first", "ending": true, "zzz": [1]`},
		"no ending":     {`"result": "zero"`, `"result": "first", "ending": true`},
		"twice":         {`"result": "first", "ending": true`, `"result": "second", "ending": true`},
		"garbage first": {`]`, `"result": "first", "ending": true`},
	} {
		go func() {
			var a answer
			a.err = c.Call(h.ctx, nil, "m", nil, &a.value)
			answers <- a
		}()
		m, ok := h.Wire.Get(queue, soon)
		if !ok {
			t.Fatal("no request")
		}
		var request struct {
			MsgID  string `json:"_msg_id"`
			ReplyQ string `json:"_reply_q"`
		}
		if err := json.Unmarshal(h.open(m), &request); err != nil {
			t.Fatal(err)
		}
		for i, part := range parts {
			text := `{"_msg_id": "` + request.MsgID + `", ` + part + `}`
			if name == "strange" && i == 0 {
				text = `{` + part + `}`
			}
			h.Wire.Put(request.ReplyQ, jsonMessage(wrapped(text)))
		}
		if a := wait(t, answers, name); a.err != nil || a.value != "first" {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func checkRefusals(t *testing.T, h *harness) {
	c := h.client(rpc.ClientOptions{VersionCap: "1.3"})
	at := func(version string) *rpc.Client {
		return c.Prepare(func(to *rpc.Target) { to.Version = version })
	}
	fanout := at("1.0").Prepare(func(to *rpc.Target) { to.Fanout = true })
	hasty := func(monitor time.Duration) error {
		return at("1.0").With(func(o *rpc.ClientOptions) { o.CallMonitorTimeout = monitor }).Call(h.ctx, nil, "m", nil, nil)
	}
	for name, err := range map[string]error{
		"monitor 1ms": hasty(time.Millisecond),
		"monitor 1s":  hasty(time.Second),
		"monitor 2s-": hasty(2*time.Second - 1),
		"fanout call": fanout.Call(h.ctx, nil, "m", nil, nil),
		"minor":       at("1.4").Cast(h.ctx, nil, "m", nil),
		"major":       at("2.0").Call(h.ctx, nil, "m", nil, nil),
		"no version":  at("").Cast(h.ctx, nil, "m", nil),
		"no topic":    at("1.0").Prepare(func(to *rpc.Target) { to.Topic = "" }).Cast(h.ctx, nil, "m", nil),
		"bad args":    at("1.0").Cast(h.ctx, nil, "m", map[string]any{"x": func() {}}),
		"bad context": at("1.0").Cast(h.ctx, rpc.Context{"x": json.RawMessage(`{`)}, "m", nil),
	} {
		if err == nil || errors.Is(err, rpc.ErrTimeout) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := at("1.3").Cast(h.ctx, nil, "m", nil); err != nil {
		t.Errorf("version 1.3: %v", err)
	}
}

func checkAtLeastOnce(t *testing.T, h *harness) {
	c := h.client(rpc.ClientOptions{AtLeastOnce: true})
	for name, err := range map[string]error{
		"call": c.Call(h.ctx, nil, "m", nil, nil),
		"cast": c.Cast(h.ctx, nil, "m", nil),
	} {
		if !errors.Is(err, rpc.ErrUndeliverable) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := h.client(rpc.ClientOptions{}).Cast(h.ctx, nil, "m", nil); err != nil {
		t.Errorf("unroutable cast without the option: %v", err)
	}
}
