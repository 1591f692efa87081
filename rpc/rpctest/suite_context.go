// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

// contextChecks cover what a handler learns about its caller in addition to the
// request.
var contextChecks = []check{
	{"Deadline_HandlersEndWithTheirCaller", checkDeadline},
	{"Deadline_NotForCastsWorkOrWhenSwitchedOff", checkNoDeadline},
	{"Headers_PassThrough", checkHeaders},
}

func checkDeadline(t *testing.T, h *harness) {
	causes := make(chan error, 16)
	h.serve(rpc.ServerOptions{}, methods("1.0", map[string]rpc.Handler{
		"wait": func(ctx context.Context, _ *rpc.Request) (any, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil, ctx.Err()
		},
	}))
	// A request expires with its call: on a busy machine before it is executed.
	for timeout, ran := time.Second, false; !ran; timeout *= 2 {
		err := h.client(rpc.ClientOptions{Timeout: timeout}).Call(h.ctx, nil, "wait", nil, nil)
		// The handler's failure may arrive before the caller's own timeout.
		if !errors.Is(err, rpc.ErrTimeout) && !errors.As(err, new(*rpc.Failure)) {
			t.Fatalf("call: %v", err)
		}
		select {
		case cause := <-causes:
			if ran = true; !errors.Is(cause, rpc.ErrAbandoned) {
				t.Errorf("cause is %v", cause)
			}
		case <-time.After(timeout):
		}
	}
}

func checkNoDeadline(t *testing.T, h *harness) {
	type seen struct{ request, context bool }
	got := make(chan seen, 1)
	report := func(ctx context.Context, r *rpc.Request) (any, error) {
		_, ok := ctx.Deadline()
		got <- seen{!r.Deadline.IsZero(), ok}
		return nil, nil
	}
	endpoint := rpc.Endpoint{Methods: map[string]rpc.Method{
		"read": {Handler: report}, "start": {Handler: report, Delivery: rpc.UntilAccepted},
	}}
	h.serve(rpc.ServerOptions{}, endpoint)
	free := h.target
	free.Topic += "-free"
	h.serveAt(free, rpc.ServerOptions{IgnoreDeadline: true}, endpoint)
	c := h.client(rpc.ClientOptions{})
	patient := c.Prepare(func(to *rpc.Target) { to.Topic = free.Topic })
	for _, row := range []struct {
		name   string
		client *rpc.Client
		method string
		cast   bool
		want   seen
	}{
		{"call", c, "read", false, seen{true, true}},
		{"cast", c, "read", true, seen{false, false}},
		{"call that starts work", c, "start", false, seen{true, false}},
		{"switched off", patient, "read", false, seen{true, false}},
	} {
		do := func() error { return row.client.Call(h.ctx, nil, row.method, nil, nil) }
		if row.cast {
			do = func() error { return row.client.Cast(h.ctx, nil, row.method, nil) }
		}
		if err := do(); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		if have := wait(t, got, row.name); have != row.want {
			t.Errorf("%s: deadlines of request and context: %+v, want %+v", row.name, have, row.want)
		}
	}
}

func checkHeaders(t *testing.T, h *harness) {
	got := make(chan map[string]string, 1)
	h.serve(rpc.ServerOptions{}, methods("1.0", map[string]rpc.Handler{
		"m": func(_ context.Context, r *rpc.Request) (any, error) { got <- r.Headers; return nil, nil },
	}))
	want := map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	c := h.client(rpc.ClientOptions{Headers: func(context.Context) map[string]string { return want }})
	if err := c.Call(h.ctx, nil, "m", nil, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, wait(t, got, "the call")); diff != "" {
		t.Error(diff)
	}
	if err := h.client(rpc.ClientOptions{}).Cast(h.ctx, nil, "m", nil); err != nil {
		t.Fatal(err)
	}
	if headers := wait(t, got, "the cast"); len(headers) != 0 {
		t.Errorf("headers from nowhere: %v", headers)
	}
}

func checkContext(t *testing.T, h *harness) {
	back := h.target
	back.Topic += "back"
	seen := make(chan rpc.Context, 2)
	note := func(_ context.Context, r *rpc.Request) (any, error) { seen <- r.Context; return nil, nil }
	h.serveAt(back, rpc.ServerOptions{}, methods("", map[string]rpc.Handler{"note": note}))
	onward := h.client(rpc.ClientOptions{}).Prepare(func(to *rpc.Target) { to.Topic = back.Topic })
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"relay": func(ctx context.Context, r *rpc.Request) (any, error) {
			seen <- r.Context
			return nil, onward.Call(ctx, r.Context, "note", nil, nil)
		},
	}))
	c := h.client(rpc.ClientOptions{CallMonitorTimeout: 30e9})
	sent := rpc.Context{"user_id": json.RawMessage(`"u"`), "roles": json.RawMessage(`["a", {"b": 1e400}]`), "": json.RawMessage(`null`)}
	if err := c.Call(h.ctx, sent, "relay", nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, timeout := range []string{"30", "null"} {
		want := rpc.Context{"client_timeout": json.RawMessage(timeout)}
		for k, v := range sent {
			want[k] = v
		}
		if diff := cmp.Diff(want, wait(t, seen, "a context")); diff != "" {
			t.Error(diff)
		}
	}
}
