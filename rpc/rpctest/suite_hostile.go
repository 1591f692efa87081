// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// hostileChecks cover peers that are careless, vanished or malicious.
var hostileChecks = []check{
	{"Hostile_Bombs", checkBombs},
	{"Hostile_CompressionsByKombusNames", checkCompressionNames},
	{"Hostile_LongIDs", checkLongIDs},
	{"Hostile_OddIDs", checkOddIDs},
	{"Hostile_ReplyQueuesOfOthers", checkReplyQueues},
	{"Hostile_VanishedClient", checkVanishedClient},
	{"Hostile_VanishedClients", checkVanishedClients},
	{"Hostile_NaNInARequest", checkNaNRequest},
	{"Hostile_NaNInAReply", checkNaNReply},
	{"Deadline_AbandonedCallsDoNotRun", checkAbandoned},
	{"Deadline_EndOfTheContextIsSent", checkContextDeadline},
	{"UntilAccepted_RunningJobsAreRemembered", checkRunningRemembered},
}

// zipped compresses as kombu's gzip does.
func zipped(body []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}

// bzip2Bomb is the bzip2 of 17 MiB of spaces and {"method": "note"}, in base64.
const bzip2Bomb = "QlpoOTFBWSZTWeyaPacAiIrZgIACUAAAEAZDhAoACCAAVBVKNMnpNlApUgAaYMwhCGdEIQhviEIQNX3M1ddYVedXmYECBA/F3JFOFCQ7Jo9pwA=="

func checkBombs(t *testing.T, h *harness) {
	ran := make(chan string, 64)
	small := h.target
	small.Topic += "small"
	note := methods("", map[string]rpc.Handler{
		"note": func(_ context.Context, r *rpc.Request) (any, error) { ran <- r.UniqueID; return nil, nil },
	})
	h.serve(rpc.ServerOptions{Workers: 1}, note)
	h.serveAt(small, rpc.ServerOptions{MaxDecompressed: 100}, note)
	bzip2, err := base64.StdEncoding.DecodeString(bzip2Bomb)
	if err != nil {
		t.Fatal(err)
	}
	spaces := bytes.Repeat([]byte(" "), 17<<20)
	bombs := []RawMessage{
		{Compression: rpc.CompressionBz2, Body: bzip2},
		{Compression: rpc.CompressionGzip, Body: zipped(append(spaces, `{"method": "note"}`...))},
		{Compression: "zlib", Body: zipped(wrapped(`{"method": "note"` + string(spaces) + `}`))},
		{Compression: rpc.CompressionGzip, Body: zipped(zipped(spaces))},
		{Compression: rpc.CompressionGzip, Body: zipped(spaces)[:100]},
	}
	for _, m := range bombs {
		m.ContentType, m.ContentEncoding = rpc.ContentType, rpc.ContentEncoding
		h.Wire.Put(h.queue(), m)
	}
	// Other requests are served meanwhile, small compressed ones too.
	var pong any
	if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "note", nil, &pong); err != nil {
		t.Fatal(err)
	}
	wait(t, ran, "the call")
	fine := RawMessage{ContentType: rpc.ContentType, ContentEncoding: rpc.ContentEncoding, Compression: rpc.CompressionGzip}
	fine.Body = zipped(wrapped(`{"method": "note", "_unique_id": "fine", "args": {}, "unknown": "` + strings.Repeat("x", 100) + `"}`))
	h.Wire.Put(h.Wire.Bind(rpc.Target{Topic: small.Topic}), fine)
	h.Wire.Put(h.queue(), fine)
	if id := wait(t, ran, "the small request"); id != "fine" {
		t.Errorf("%s ran", id)
	}
	// The limit of the other server is lower.
	c := h.client(rpc.ClientOptions{}).Prepare(func(to *rpc.Target) { to.Topic = small.Topic })
	if err := c.Call(h.ctx, nil, "note", nil, nil); err != nil {
		t.Fatal(err)
	}
	if id := wait(t, ran, "the last call"); id == "fine" || len(ran) != 0 {
		t.Errorf("%q ran before the last call, %d after", id, len(ran))
	}
}

func checkCompressionNames(t *testing.T, h *harness) {
	ran := make(chan struct{}, 8)
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"note": func(context.Context, *rpc.Request) (any, error) { ran <- struct{}{}; return nil, nil },
	}))
	bzip2, _ := base64.StdEncoding.DecodeString(bzipped)
	for name, body := range map[string][]byte{
		"gzip": zipped(wrapped(`{"method": "note"}`)), "zlib": zipped([]byte(`{"method": "note"}`)), "bzip2": bzip2, "bzip": bzip2,
	} {
		h.Wire.Put(h.queue(), RawMessage{ContentType: rpc.ContentType, Compression: name, Body: body})
		wait(t, ran, name)
	}
	for _, name := range []string{"application/x-lzma", "application/zstd", "application/x-brotli", "?"} {
		h.Wire.Put(h.queue(), RawMessage{ContentType: rpc.ContentType, Compression: name, Body: []byte("\xfd7zXZ\x00")})
	}
	if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "note", nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(ran) != 1 {
		t.Errorf("%d executions", len(ran))
	}
}

// checkLongIDs sends ids longer than any real one: their repetitions must be recognised
// too.
func checkLongIDs(t *testing.T, h *harness) {
	ids := make(chan string, 8)
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"note": func(_ context.Context, r *rpc.Request) (any, error) { ids <- r.UniqueID; return nil, nil },
	}), accepting(func(_ context.Context, r *rpc.Request) (any, error) { ids <- r.UniqueID; return 1, nil }))
	long := strings.Repeat("u", 1<<20)
	for i, method := range []string{"note", "start"} {
		for _, end := range []string{"a", "b"} {
			id := long + strconv.Itoa(i) + end
			h.answer(h.ask(`"method": "` + method + `", "_unique_id": "` + id + `"`))
			if kept := wait(t, ids, "the execution"); kept == "" || len(kept) > 64 {
				t.Errorf("an id of %d bytes", len(kept))
			}
			again := h.ask(`"method": "` + method + `", "_unique_id": "` + id + `"`)
			if method == "start" {
				h.answer(again)
			} else {
				h.silent(again)
			}
		}
	}
	if len(ids) != 0 {
		t.Error("a repetition ran")
	}
}

func checkOddIDs(t *testing.T, h *harness) {
	h.serveBreaking(rpc.ServerOptions{}, map[string]rpc.Handler{"note": returns(1)})
	h.Wire.Declare("reply_nobody")
	h.t.Cleanup(func() { h.Wire.Delete("reply_nobody") })
	for _, id := range []string{`5`, `null`, `true`, `[1]`, `{"a": 1}`, `""`, `"\u0000"`, `1e400`, nestedJSON(5000)} {
		for _, method := range []string{"note", "start-note"} {
			if r := h.answer(h.ask(`"method": "` + method + `", "_unique_id": ` + id)); r.Result != 1.0 {
				t.Errorf("%s: %+v", id, r)
			}
		}
		h.Wire.Put(h.queue(), jsonMessage(wrapped(`{"method": "note", "_msg_id": `+id+`, "_reply_q": "reply_nobody"}`)))
		h.Wire.Put(h.queue(), jsonMessage(wrapped(`{"method": "note", "_msg_id": "m", "_reply_q": `+id+`}`)))
	}
	h.alive()
}

// A caller cannot have messages put into the queues of other services.
func checkReplyQueues(t *testing.T, h *harness) {
	ran := make(chan struct{}, 8)
	free := h.target
	free.Topic += "free"
	note := methods("", map[string]rpc.Handler{
		"note": func(context.Context, *rpc.Request) (any, error) { ran <- struct{}{}; return "x", nil },
	})
	h.serve(rpc.ServerOptions{}, note)
	h.serveAt(free, rpc.ServerOptions{AnyReplyQueue: true}, note)
	victim := h.target.Topic + "victim"
	for _, name := range []string{victim, "REPLY_" + victim, " reply_" + victim, "reply"} {
		h.Wire.Declare(name)
		h.t.Cleanup(func() { h.Wire.Delete(name) })
		h.Wire.Put(h.queue(), jsonMessage(wrapped(`{"method": "note", "_msg_id": "m", "_timeout": 2, "_reply_q": "`+name+`"}`)))
	}
	if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "note", nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(ran) != 1 || h.Wire.Len(victim) != 0 {
		t.Errorf("%d executions, %d messages for the victim", len(ran), h.Wire.Len(victim))
	}
	wait(t, ran, "the call")
	h.Wire.Put(h.Wire.Bind(rpc.Target{Topic: free.Topic}), jsonMessage(wrapped(`{"method": "note", "_msg_id": "m", "_reply_q": "`+victim+`"}`)))
	if r := h.answer(victim); r.Result != "x" {
		t.Errorf("%+v", r)
	}
}

// A vanished client with many calls under way does not slow down others.
func checkVanishedClient(t *testing.T, h *harness) {
	h.deserted()
	gone := "reply_" + rpc.NewID()
	for i := range 1500 {
		h.Wire.Put(h.queue(), jsonMessage(wrapped(fmt.Sprintf(
			`{"method": "one", "_msg_id": "%d", "_unique_id": "%s%d", "_reply_q": "%s"}`, i, gone, i, gone))))
	}
	if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "one", nil, nil); err != nil {
		t.Fatal(err)
	}
	// When the client returns, the newest answers arrive in the order of their calls.
	h.Wire.Declare(gone)
	h.t.Cleanup(func() { h.Wire.Delete(gone) })
	if r := h.answer(gone); r.Result != 1.0 {
		t.Errorf("%+v", r)
	}
}

func checkVanishedClients(t *testing.T, h *harness) {
	h.deserted()
	for i := range 1500 {
		h.Wire.Put(h.queue(), jsonMessage(wrapped(fmt.Sprintf(
			`{"method": "one", "_msg_id": "m", "_unique_id": "%s%d", "_reply_q": "reply_%s%d"}`, h.target.Topic, i, h.target.Topic, i))))
	}
	for range 3 {
		if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "one", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// nonFinite lists the numbers that Python writes and that JSON does not allow.
var nonFinite = []string{"NaN", "Infinity", "-Infinity"}

func checkNaNRequest(t *testing.T, h *harness) {
	ran := make(chan struct{}, 8)
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"note": func(context.Context, *rpc.Request) (any, error) { ran <- struct{}{}; return nil, nil },
	}))
	for _, n := range nonFinite {
		for _, members := range []string{`"args": {"x": ` + n + `}`, `"args": {"x": [1, {"a": ` + n + `}, "NaN"]}`, `"_context_x": ` + n} {
			if f := h.failed(h.ask(`"method": "note", ` + members)); f.Class != "ValueError" || !strings.Contains(f.Message, "NaN") {
				t.Errorf("%s: %+v", members, f)
			}
		}
		h.Wire.Put(h.queue(), jsonMessage(wrapped(`{"method": "note", "args": {"x": `+n+`}}`)))
	}
	// Bare words that look similar are not JSON; inside strings such words are allowed.
	for _, word := range []string{"nan", "NaNs", "Inf", "+Infinity", "--Infinity", "NaN NaN", `"a" NaN`} {
		h.Wire.Put(h.queue(), jsonMessage(wrapped(`{"method": "note", "args": {"x": `+word+`}}`)))
	}
	if r := h.answer(h.ask(`"method": "note", "args": {"NaN": "-Infinity \" NaN"}`)); r.Failure != nil {
		t.Errorf("%s", *r.Failure)
	}
	if len(ran) != 1 {
		t.Errorf("%d executions", len(ran))
	}
}

func checkNaNReply(t *testing.T, h *harness) {
	queue := h.queue()
	failure := `"failure": "{\"class\": \"E\", \"module\": \"m\", \"message\": \"x\", \"args\": [NaN], \"kwargs\": {\"code\": 404}}"`
	errs := make(chan error, 1)
	for _, members := range []string{`"result": {"load": NaN}, "failure": null`, `"result": [-Infinity], "failure": null`, `"result": null, ` + failure} {
		go func() {
			var x any
			errs <- h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "m", nil, &x)
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
		h.Wire.Put(request.ReplyQ, jsonMessage(wrapped(`{`+members+`, "ending": true, "_msg_id": "`+request.MsgID+`"}`)))
		err := wait(t, errs, "the end of the call")
		if strings.Contains(members, "class") {
			expectFailure(t, err, "E", "m")
		} else if err == nil || errors.Is(err, rpc.ErrTimeout) || !strings.Contains(err.Error(), "NaN") {
			t.Errorf("%s: %v", members, err)
		}
	}
}

// A call whose caller gives up before a worker is free does not run.
func checkAbandoned(t *testing.T, h *harness) {
	type seen struct {
		n    string
		over bool
	}
	ran, release := make(chan seen, 16), make(chan struct{})
	handler := func(ctx context.Context, r *rpc.Request) (any, error) {
		ran <- seen{string(r.Args["n"]), ctx.Err() != nil}
		<-release
		return nil, nil
	}
	h.serve(rpc.ServerOptions{Workers: 1}, methods("", map[string]rpc.Handler{"m": handler}), accepting(handler))
	c := h.client(rpc.ClientOptions{})
	if err := c.Cast(h.ctx, nil, "m", map[string]any{"n": 0}); err != nil {
		t.Fatal(err)
	}
	wait(t, ran, "the first request")
	const patience = 500 * time.Millisecond
	errs := make(chan error, 16)
	for i := range 6 {
		method := []string{"m", "start"}[i%2]
		hasty := c.With(func(o *rpc.ClientOptions) { o.Timeout = patience })
		go func() { errs <- hasty.Call(h.ctx, nil, method, map[string]any{"n": 1}, nil) }()
	}
	for range 6 {
		if err := wait(t, errs, "a caller that gives up"); !errors.Is(err, rpc.ErrTimeout) {
			t.Errorf("call: %v", err)
		}
	}
	// The server counts from the arrival of a call, which is a little later.
	time.Sleep(4 * patience)
	close(release)
	if err := c.Call(h.ctx, nil, "m", map[string]any{"n": 2}, nil); err != nil {
		t.Errorf("the patient call: %v", err)
	}
	if s := wait(t, ran, "the patient call"); s.n != "2" || s.over || len(ran) != 0 {
		t.Errorf("%+v ran, and %d more", s, len(ran))
	}
}

// The broker keeps a call no longer than the caller's context lasts.
func checkContextDeadline(t *testing.T, h *harness) {
	queue := h.queue()
	for name, patience := range map[string]time.Duration{"context": 30 * time.Second, "client": time.Hour} {
		ctx, cancel := context.WithTimeout(h.ctx, patience)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = h.client(rpc.ClientOptions{Timeout: time.Minute}).Call(ctx, nil, "m", nil, nil)
		}()
		m, ok := h.Wire.Get(queue, soon)
		cancel()
		if !ok {
			t.Fatal("no request")
		}
		wait(t, done, "the end of the call")
		ms, err := strconv.Atoi(m.Expiration)
		if limit := int(min(patience, time.Minute).Milliseconds()); err != nil || ms <= 0 || ms > limit {
			t.Errorf("%s: expiration is %q", name, m.Expiration)
		}
	}
}

// A running request is remembered however many other requests pass, so its repetition
// does not run.
func checkRunningRemembered(t *testing.T, h *harness) {
	runs, release := make(chan struct{}, 8), make(chan struct{})
	e := accepting(func(context.Context, *rpc.Request) (any, error) { runs <- struct{}{}; <-release; return "one", nil })
	e.Methods["read"] = rpc.Method{Handler: returns(1)}
	s := h.serve(rpc.ServerOptions{Window: 16}, e)
	first := h.ask(`"method": "start", "_unique_id": "w1"`)
	wait(t, runs, "the handler")
	for i := range 40 {
		h.answer(h.ask(`"method": "read", "_unique_id": "r` + strconv.Itoa(i) + `"`))
	}
	h.ask(`"method": "start", "_unique_id": "w1"`)
	h.answer(h.ask(`"method": "read", "_unique_id": "last"`))
	close(release)
	if r := h.answer(first); r.Result != "one" {
		t.Errorf("%+v", r)
	}
	if err := s.Stop(h.ctx); err != nil {
		t.Error(err)
	}
	if len(runs) != 0 {
		t.Errorf("the repetition ran")
	}
}
