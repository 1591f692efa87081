// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden is a message as oslo.messaging has published it.
type golden struct {
	Body            string          `json:"body"`
	Message         json.RawMessage `json:"message"`
	Failure         json.RawMessage `json:"failure"`
	ContentType     string          `json:"content_type"`
	ContentEncoding string          `json:"content_encoding"`
}

func readGolden(t testing.TB) []golden {
	t.Helper()
	text, err := os.ReadFile("testdata/golden-publishes.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d golden messages", len(all))
	}
	return all
}

func decode(t testing.TB, text []byte) any {
	t.Helper()
	var v any
	if err := unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestGoldenMessages(t *testing.T) {
	t.Parallel()
	requests, replies, failures := 0, 0, 0
	for _, g := range readGolden(t) {
		m := Incoming{ContentType: g.ContentType, ContentEncoding: g.ContentEncoding, Body: []byte(g.Body)}
		payload, err := m.payload()
		if err != nil {
			t.Errorf("%s: %v", g.Body, err)
			continue
		}
		if diff := cmp.Diff(decode(t, g.Message), decode(t, payload)); diff != "" {
			t.Error(diff)
		}
		switch {
		case bytes.Contains(g.Message, []byte(`"ending"`)):
			replies++
			failures += checkGoldenReply(t, g, payload)
		case bytes.Contains(g.Message, []byte(`"method"`)):
			requests++
			checkGoldenRequest(t, g, payload)
		}
	}
	if requests < 10 || replies < 10 || failures < 3 {
		t.Errorf("%d requests, %d replies, %d failures", requests, replies, failures)
	}
}

// checkGoldenRequest decodes a request and encodes the same one again.
func checkGoldenRequest(t *testing.T, g golden, payload []byte) {
	t.Helper()
	r, err := decodeRequest(payload)
	if err != nil {
		t.Error(err)
		return
	}
	args := make(map[string]any, len(r.Args))
	for k, v := range r.Args {
		args[k] = v
	}
	o := outgoing{
		method: r.Method, args: args, context: r.Context, uniqueID: r.UniqueID,
		msgID: r.wire.msgID, replyQ: r.wire.replyQ, wantsReply: r.WantsReply,
	}
	want := decode(t, g.Message).(map[string]any)
	if _, ok := want["version"]; ok {
		o.target.Version = r.Version
	}
	o.target.Namespace = r.Namespace
	if n, ok := want["_timeout"].(json.Number); ok {
		seconds, _ := n.Int64()
		o.monitor = time.Duration(seconds) * time.Second
	}
	body, err := o.encode()
	if err != nil {
		t.Error(err)
		return
	}
	again, err := (&Incoming{ContentType: ContentType, Body: body}).payload()
	if err != nil {
		t.Error(err)
		return
	}
	if diff := cmp.Diff(any(want), decode(t, again)); diff != "" {
		t.Error(diff)
	}
}

// checkGoldenReply decodes a reply and encodes the same one again.
func checkGoldenReply(t *testing.T, g golden, payload []byte) (failures int) {
	t.Helper()
	r, err := decodeReply(payload)
	if err != nil {
		t.Error(err)
		return 0
	}
	o := outcome{result: r.result, failure: r.failure}
	if r.failure != nil {
		f, err := decodeFailure(r.failure)
		if err != nil {
			t.Error(err)
			return 0
		}
		o.failure = f.encode()
		if diff := cmp.Diff(decode(t, g.Failure), decode(t, o.failure)); diff != "" {
			t.Error(diff)
		}
		failures++
	}
	want, got := decode(t, g.Message).(map[string]any), map[string]any{}
	again, err := (&Incoming{ContentType: ContentType, Body: encodeReply(r.msgID, o, r.ending)}).payload()
	if err != nil {
		t.Error(err)
		return failures
	}
	if err := unmarshal(again, &got); err != nil {
		t.Error(err)
	}
	for _, m := range []map[string]any{want, got} {
		delete(m, "_unique_id")
		delete(m, "failure")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	return failures
}

func TestHeartbeatInterval(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"": 0, "null": 0, "0": 0, "1": 0, "-5": 0, `"abc"`: 0, "{}": 0, "1e300": 0,
		"2": time.Second, "3": 1500 * time.Millisecond, "3.9": 1500 * time.Millisecond, `"4"`: 2 * time.Second,
	} {
		if got := heartbeatInterval([]byte(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestCompatible(t *testing.T) {
	t.Parallel()
	for requested, want := range map[string]bool{
		"1.0": true, "1.4.9": true, "1.5": true, "1.5.0": true, "1.5.1": false, "1.6": false, "2.0": false, "0.9": false,
	} {
		if got, err := compatible("1.5", requested); got != want || err != nil {
			t.Errorf("%s: %v, %v", requested, got, err)
		}
	}
}

func TestChecklist14_ServerTargetNeedsTopicAndServer(t *testing.T) {
	t.Parallel()
	e := []Endpoint{{}}
	for _, target := range []Target{{}, {Topic: "t"}, {Server: "s"}} {
		if _, err := NewServer(nil, target, e, ServerOptions{}); err == nil {
			t.Errorf("%v: no error", target)
		}
	}
	for _, e := range [][]Endpoint{nil, {{Version: "1"}}, {{Methods: map[string]Method{"m": {}}}}} {
		if _, err := NewServer(nil, Target{Topic: "t", Server: "s"}, e, ServerOptions{}); err == nil {
			t.Errorf("%v: no error", e)
		}
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	t.Parallel()
	r := newRecent(1)
	ids := strings.Split("abcdefghijklmnopqrst", "")
	for _, id := range ids {
		if !r.add(id) {
			t.Errorf("%s is known", id)
		}
	}
	if r.add("t") || r.add("e") || !r.add("d") {
		t.Error("the window is not the last 16")
	}
	big := outcome{result: make([]byte, maxRemembered)}
	j, _ := r.begin("big")
	r.finish(j, big)
	k, _ := r.begin("big2")
	r.finish(k, outcome{result: []byte("1")})
	if _, fresh := r.begin("big"); !fresh {
		t.Error("answers grow without bound")
	}
	if k2, fresh := r.begin("big2"); fresh || k2 != k {
		t.Error("the newest answer is forgotten")
	}
}

// A running job has no place that others could take, and counts once.
func TestRecentKeepsRunningJobs(t *testing.T) {
	t.Parallel()
	r := newRecent(1)
	var running []*job
	for i := range 3 * minWindow { // more than the window has places
		j, _ := r.begin(strconv.Itoa(i))
		running = append(running, j)
	}
	for i := range 5 * minWindow {
		r.add("read" + strconv.Itoa(i))
	}
	for i, j := range running {
		if again, fresh := r.begin(strconv.Itoa(i)); fresh || again != j {
			t.Fatalf("running job %d is forgotten", i)
		}
	}
	for round := range 40 {
		for _, j := range running {
			if round > 0 {
				j, _ = r.begin(j.id + "x" + strconv.Itoa(round))
			}
			r.finish(j, outcome{result: make([]byte, 1<<10)})
		}
		anonymous, _ := r.begin("")
		r.finish(anonymous, outcome{result: make([]byte, 1<<10)})
	}
	held := 0
	for _, e := range r.order {
		if e.job != nil {
			held += e.job.size
		}
	}
	if r.bytes != held || held != minWindow<<10 || len(r.jobs) != minWindow {
		t.Errorf("%d bytes counted, %d held, of %d jobs", r.bytes, held, len(r.jobs))
	}
	// An answer that is too large for the memory leaves the others alone.
	r.add("small")
	j, _ := r.begin("huge")
	r.finish(j, outcome{result: make([]byte, maxRemembered+1)})
	if r.add("small") || r.bytes > held {
		t.Errorf("%d bytes, and small is forgotten", r.bytes)
	}
	// One that is given back may come again, and then has one place.
	j, _ = r.begin("back")
	r.forget(j)
	if again, fresh := r.begin("back"); !fresh || again == j {
		t.Error("a request that was given back is known")
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, g := range readGolden(f)[:20] {
		f.Add([]byte(g.Body))
	}
	f.Add([]byte(`{"oslo.version": "2.0", "oslo.message": "{\"method\": \"\\ud83d\\ude00\\ud800\"}"}`))
	f.Add([]byte(`{"a\u0062": [1, "}", {"c": "\\"}], "method":"x" , "args" : { } }`))
	f.Fuzz(func(t *testing.T, body []byte) {
		payload, err := (&Incoming{ContentType: ContentType, Body: body}).payload()
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(payload, &members); err != nil {
			t.Fatalf("accepted %q: %v", payload, err)
		}
		scanned := map[string]json.RawMessage{}
		if err := eachMember(payload, func(k, v []byte) { scanned[string(k)] = v }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(members, scanned); diff != "" {
			t.Fatal(diff)
		}
		for _, raw := range members {
			var want string
			if json.Unmarshal(raw, &want) == nil && raw[0] == '"' {
				if got, ok := textOf(raw); !ok || got != want {
					t.Fatalf("%s reads %q, want %q", raw, got, want)
				}
				if quoted := appendQuoted(nil, want); json.Unmarshal(quoted, &want) != nil {
					t.Fatalf("%s is no string", quoted)
				}
			}
		}
		if _, err := decodeRequest(payload); err != nil && !errors.Is(err, errReplyQueue) {
			t.Fatal(err)
		}
		if _, err := decodeReply(payload); err != nil {
			t.Fatal(err)
		}
	})
}
