// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for _, row := range []struct {
		share float64
		want  time.Duration
	}{{0, time.Millisecond}, {0.5, 500 * time.Millisecond}, {0.99, 990 * time.Millisecond}, {1, time.Second}} {
		got := h.quantile(row.share)
		if got < row.want || float64(got) > 1.01*float64(row.want) {
			t.Errorf("quantile %g is %s, want %s and 1 %% more at most", row.share, got, row.want)
		}
	}
	if h.max != time.Second || h.mean() != 500500*time.Microsecond {
		t.Errorf("max %s, mean %s", h.max, h.mean())
	}
}

func TestHistogramBucketsAreContiguous(t *testing.T) {
	t.Parallel()
	for bucket := range len(histogram{}.counts) - 1 {
		u := upper(bucket)
		if bucketOf(u) != bucket || bucketOf(u+1) != bucket+1 {
			t.Fatalf("bucket %d ends at %d: %d, %d", bucket, u, bucketOf(u), bucketOf(u+1))
		}
	}
	for range 1000 {
		d := time.Duration(rand.Int64())
		if bucketOf(d) >= len(histogram{}.counts) {
			t.Fatalf("%d is outside", d)
		}
	}
}

func newTestTemplate(t *testing.T, arguments ...string) *template {
	t.Helper()
	s, err := parse(arguments)
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := newTemplate(s, "reply_1")
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestTemplateIsARequest(t *testing.T) {
	t.Parallel()
	tmpl := newTestTemplate(t, "--topic", "topic", "--args", `{"a": 1}`, "--payload", "3", "--namespace", "n")
	wire := tmpl.append(nil, 258)
	if !bytes.Contains(wire, []byte("\x05topic")) {
		t.Error("no routing key")
	}
	i := bytes.Index(wire, []byte(`{"oslo.version"`))
	if size := binary.BigEndian.Uint32(wire[i-4:]); int(size) != len(wire)-i-1 || wire[len(wire)-1] != frameEnd {
		t.Errorf("the body frame says %d bytes", size)
	}
	var envelope map[string]string
	var request map[string]any
	if err := json.Unmarshal(wire[i:len(wire)-1], &envelope); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(envelope["oslo.message"]), &request); err != nil {
		t.Fatal(err)
	}
	id, _ := request["_msg_id"].(string)
	if n, ok := tmpl.number([]byte(id)); !ok || n != 258 || request["_unique_id"] != id {
		t.Errorf("ids %v and %v", id, request["_unique_id"])
	}
	want := map[string]any{
		"method": "echo", "args": map[string]any{"a": 1.0, "payload": "xxx"}, "namespace": "n", "version": "1.0",
		"_reply_q": "reply_1", "_timeout": nil,
	}
	for name := range request {
		if strings.HasPrefix(name, "_context_") || name == "_msg_id" || name == "_unique_id" {
			delete(request, name)
		}
	}
	if diff := cmp.Diff(want, request); diff != "" {
		t.Error(diff)
	}
}

func TestNumberRefusesOthersIDs(t *testing.T) {
	t.Parallel()
	tmpl := newTestTemplate(t)
	for _, id := range []string{"", rpc.NewID(), string(tmpl.run[:]) + strings.Repeat("z", 16)} {
		if n, ok := tmpl.number([]byte(id)); ok {
			t.Errorf("%q is %d", id, n)
		}
	}
}

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("7", 32)
	envelope := func(message string) []byte {
		text, _ := json.Marshal(message)
		return []byte(`{"oslo.version": "2.0", "oslo.message": ` + string(text) + `}`)
	}
	for _, row := range []struct {
		name, message string
		ok, ending    bool
		failure       string
	}{
		{"success", `{"result": {"_msg_id": "x"}, "failure": null, "ending": true, "_msg_id": "` + id + `"}`, true, true, ""},
		{"heartbeat", `{"result": null, "failure": null, "ending": false, "_msg_id": "` + id + `"}`, true, false, ""},
		{"compact", `{"result":1,"failure":null,"ending":true,"_msg_id":"` + id + `"}`, true, true, ""},
		{"failure", `{"result": null, "failure": "{\"class\": \"ValueError\"}", "ending": true, "_msg_id": "` + id + `"}`, true, true, "ValueError"},
		{"no object", `[]`, false, false, ""},
	} {
		a, ok := readAnswer(envelope(row.message))
		if ok != row.ok || a.ending != row.ending || a.failure != row.failure || ok && string(a.id) != id {
			t.Errorf("%s: %+v, %t", row.name, a, ok)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	if err := (&report{}).verdict(); err != nil {
		t.Error(err)
	}
	for _, r := range []report{{Lost: 1}, {Doubled: 1}, {Errors: map[string]uint64{"nack": 1}}} {
		if r.verdict() == nil {
			t.Errorf("%+v passes", r)
		}
	}
}
