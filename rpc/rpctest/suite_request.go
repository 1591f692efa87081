// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

// requestChecks cover the requests that a server accepts.
var requestChecks = []check{
	{"Checklist15_CallsCastsAndFanouts", checkDelivery},
	{"Checklist19_NoMessageIDNoReply", checkNoMessageID},
	{"Checklist19_NoReplyQueueNoReply", checkNoReplyQueue},
	{"Checklist20_RepeatedUniqueID", checkRepeated},
	{"Checklist21_MalformedRequestsAreRejected", checkMalformed},
	{"Checklist22_EnvelopeVariants", checkEnvelopes},
	{"Checklist23_VersionRules", checkVersions},
	{"Checklist24_UnknownAndPrivateMethods", checkNoSuchMethod},
	{"Checklist25_BadArgumentsAreAnswered", checkBadArguments},
	{"Checklist30_CompressedRequests", checkCompressed},
	{"Checklist32_Ping", checkPing},
	{"Checklist33_IntegersAndText", checkValues},
	{"Checklist55_RequestContext", checkContext},
}

func checkDelivery(t *testing.T, h *harness) {
	seen := make(chan string, 16)
	note := func(server string) rpc.Endpoint {
		return methods("1.0", map[string]rpc.Handler{
			"echo": func(_ context.Context, r *rpc.Request) (any, error) { return r.Args, nil },
			"note": func(_ context.Context, r *rpc.Request) (any, error) {
				if r.WantsReply {
					t.Error("a cast that wants a reply")
				}
				seen <- server
				return "ignored", nil
			},
		})
	}
	other := h.target
	other.Server = "host.two"
	h.serve(rpc.ServerOptions{}, note("one"))
	h.serveAt(other, rpc.ServerOptions{}, note("two"))
	c := h.client(rpc.ClientOptions{})
	two := c.Prepare(func(to *rpc.Target) { to.Server = "host.two" })
	for name, client := range map[string]*rpc.Client{"topic": c, "server": two} {
		var got map[string]any
		if err := client.Call(h.ctx, nil, "echo", map[string]any{"a": "b"}, &got); err != nil {
			t.Fatalf("call to the %s: %v", name, err)
		}
		if diff := cmp.Diff(map[string]any{"a": "b"}, got); diff != "" {
			t.Errorf("call to the %s: %s", name, diff)
		}
	}
	if err := c.Cast(h.ctx, nil, "note", nil); err != nil {
		t.Fatalf("cast: %v", err)
	}
	wait(t, seen, "the cast")
	if err := two.Cast(h.ctx, nil, "note", nil); err != nil {
		t.Fatalf("cast to a server: %v", err)
	}
	if got := wait(t, seen, "the cast to a server"); got != "two" {
		t.Errorf("a cast to host.two reached %s", got)
	}
	fanout := c.Prepare(func(to *rpc.Target) { to.Fanout = true })
	if err := fanout.Cast(h.ctx, nil, "note", nil); err != nil {
		t.Fatalf("fanout: %v", err)
	}
	if a, b := wait(t, seen, "the fanout"), wait(t, seen, "the other fanout"); a == b {
		t.Errorf("the fanout reached %s twice", a)
	}
	if len(seen) != 0 {
		t.Errorf("%d executions too many", len(seen))
	}
}

func checkNoMessageID(t *testing.T, h *harness) {
	ran := make(chan struct{}, 4)
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"note": func(context.Context, *rpc.Request) (any, error) { ran <- struct{}{}; return 1, nil },
	}))
	h.Wire.Declare("reply_" + h.target.Topic)
	for _, id := range []string{"", `"_msg_id": "", `, `"_msg_id": null, `} {
		h.Wire.Put(h.queue(), jsonMessage(wrapped(`{`+id+`"_reply_q": "reply_`+h.target.Topic+`", "method": "note"}`)))
		wait(t, ran, "the execution")
	}
	h.silent("reply_" + h.target.Topic)
	h.Wire.Delete("reply_" + h.target.Topic)
}

// A call that names no queue is executed, as in Python. Its answer is dropped at once;
// otherwise stopping the server would wait for the end of the retries.
func checkNoReplyQueue(t *testing.T, h *harness) {
	ran := make(chan bool, 4)
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"note": func(_ context.Context, r *rpc.Request) (any, error) { ran <- r.WantsReply; return 1, nil },
	}))
	for _, queue := range []string{"", `"_reply_q": "", `, `"_reply_q": null, `} {
		h.Wire.Put(h.queue(), jsonMessage(wrapped(`{"_msg_id": "m", "_timeout": 2, `+queue+`"method": "note"}`)))
		if !wait(t, ran, "the execution") {
			t.Errorf("%q: taken for a cast", queue)
		}
	}
}

func checkRepeated(t *testing.T, h *harness) {
	var runs atomic.Int32
	h.serve(rpc.ServerOptions{Window: 1}, methods("", map[string]rpc.Handler{
		"note": func(context.Context, *rpc.Request) (any, error) { return runs.Add(1), nil },
	}))
	first := h.ask(`"method": "note", "_unique_id": "u0"`)
	h.answer(first)
	// With 14 others between them the second one is still among the last 16.
	for i := range 14 {
		h.answer(h.ask(`"method": "note", "_unique_id": "other` + strconv.Itoa(i) + `"`))
	}
	h.silent(h.ask(`"method": "note", "_unique_id": "u0"`))
	if n := runs.Load(); n != 15 {
		t.Errorf("executed %d times, want 15", n)
	}
	// Requests without an id never count as repetitions.
	h.answer(h.ask(`"method": "note"`))
	h.answer(h.ask(`"method": "note"`))
	if n := h.Wire.Len(h.queue()); n != 0 {
		t.Errorf("%d messages left in the queue", n)
	}
}

func checkPing(t *testing.T, h *harness) {
	off := h.target
	off.Topic += "off"
	h.serve(rpc.ServerOptions{Ping: true}, methods("1.0", map[string]rpc.Handler{"a": returns(1)}))
	h.serveAt(off, rpc.ServerOptions{}, methods("1.0", map[string]rpc.Handler{"a": returns(1)}))
	var pong string
	to := h.client(rpc.ClientOptions{}).Prepare(func(to *rpc.Target) { to.Server = h.target.Server })
	if err := to.Call(h.ctx, nil, "oslo_rpc_server_ping", map[string]any{"any": 1}, &pong); err != nil || pong != "pong" {
		t.Errorf("ping: %q, %v", pong, err)
	}
	err := to.Prepare(func(to *rpc.Target) { to.Topic = off.Topic }).Call(h.ctx, nil, "oslo_rpc_server_ping", nil, nil)
	expectFailure(t, err, "NoSuchMethod", "oslo_messaging.rpc.dispatcher")
}
