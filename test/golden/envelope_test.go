// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

// TestMalformedRequests publishes what is no request, or hardly one, and looks
// at whether there is an answer, and which. oslo.messaging gives the same.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	const (
		silence = ""
		served  = "served"
		fails   = "fails"
	)
	inner := func(change string, value any) func(map[string]any) []byte {
		return func(message map[string]any) []byte {
			if value == nil {
				delete(message, change)
			} else {
				message[change] = value
			}
			return envelope(t, message)
		}
	}
	// outer has an envelope with the text of the message in the place of %s.
	outer := func(format string) func(map[string]any) []byte {
		return func(message map[string]any) []byte {
			text, _ := json.Marshal(message)
			quoted, _ := json.Marshal(string(text))
			return []byte(strings.Replace(format, "%s", string(quoted), 1))
		}
	}
	null := json.RawMessage("null")
	for name, row := range map[string]struct {
		body        func(map[string]any) []byte
		contentType string
		want        string
		class       string // part of a failure's class
	}{
		"not JSON":                {body: outer(`{"oslo.version`), want: silence},
		"not UTF-8":               {body: outer("{\"oslo.version\": \"2.0\", \"oslo.message\": \"\xff\xfe\"}"), want: silence},
		"a list":                  {body: outer(`[1, 2]`), want: silence},
		"inner not JSON":          {body: outer(`{"oslo.version": "2.0", "oslo.message": "{no"}`), want: silence},
		"inner a list":            {body: outer(`{"oslo.version": "2.0", "oslo.message": "[]"}`), want: silence},
		"inner null":              {body: outer(`{"oslo.version": "2.0", "oslo.message": null}`), want: silence},
		"inner an object":         {body: outer(`{"oslo.version": "2.0", "oslo.message": {"method": "list_providers"}}`), want: silence},
		"empty":                   {body: outer(``), want: silence},
		"nested too deep":         {body: outer(`{"oslo.version": "2.0", "oslo.message": ` + strings.Repeat("[", 200000) + strings.Repeat("]", 200000) + `}`), want: silence},
		"version 1.0":             {body: outer(`{"oslo.version": "1.0", "oslo.message": %s}`), want: silence},
		"version 3.0":             {body: outer(`{"oslo.version": "3.0", "oslo.message": %s}`), want: silence},
		"version 2.1":             {body: outer(`{"oslo.version": "2.1", "oslo.message": %s}`), want: silence},
		"version a number":        {body: outer(`{"oslo.version": 2.0, "oslo.message": %s}`), want: silence},
		"version text":            {body: outer(`{"oslo.version": "abc", "oslo.message": %s}`), want: silence},
		"version 2.0.0":           {body: outer(`{"oslo.version": "2.0.0", "oslo.message": %s}`), want: served},
		"unknown key":             {body: outer(`{"oslo.version": "2.0", "x": 1, "oslo.message": %s}`), want: served},
		"no envelope":             {body: func(m map[string]any) []byte { text, _ := json.Marshal(m); return text }, want: served},
		"no content type":         {body: inner("x", 1), contentType: "none", want: silence},
		"text":                    {body: inner("x", 1), contentType: "text/plain", want: silence},
		"pickle":                  {body: inner("x", 1), contentType: "application/x-python-serialize", want: silence},
		"unknown inner key":       {body: inner("unknown", 1), want: served},
		"no unique id":            {body: inner("_unique_id", nil), want: served},
		"namespace null":          {body: inner("namespace", null), want: served},
		"namespace unknown":       {body: inner("namespace", "nope"), want: fails, class: "UnsupportedVersion"},
		"namespace empty":         {body: inner("namespace", ""), want: fails, class: "UnsupportedVersion"},
		"no version":              {body: inner("version", nil), want: served},
		"version null":            {body: inner("version", null), want: fails, class: "UnsupportedVersion"},
		"version garbage":         {body: inner("version", "abc"), want: fails},
		"version 2":               {body: inner("version", "2.0"), want: fails, class: "UnsupportedVersion"},
		"version 1.9":             {body: inner("version", "1.9"), want: fails, class: "UnsupportedVersion"},
		"no method":               {body: inner("method", nil), want: fails},
		"method a number":         {body: inner("method", 7), want: fails},
		"method unknown":          {body: inner("method", "no_such"), want: fails, class: "NoSuchMethod"},
		"method private":          {body: inner("method", "_spawn"), want: fails, class: "NoSuchMethod"},
		"method of the manager":   {body: inner("method", "init_host"), want: fails, class: "NoSuchMethod"},
		"method with dunder":      {body: inner("method", "__class__"), want: fails, class: "NoSuchMethod"},
		"method of another space": {body: inner("method", "show_restore"), want: fails, class: "NoSuchMethod"},
		"no args":                 {body: inner("args", nil), want: served},
		"args null":               {body: inner("args", null), want: fails},
		"args a list":             {body: inner("args", []int{1}), want: fails},
		"reply queue a number":    {body: inner("_reply_q", 7), want: silence},
		"no message id":           {body: inner("_msg_id", nil), want: silence},
		"message id empty":        {body: inner("_msg_id", ""), want: silence},
		"timeout garbage":         {body: inner("_timeout", "soon"), want: served},
	} {
		t.Run(name, func(t *testing.T) {
			id := strings.ReplaceAll(uuid.NewString(), "-", "")
			queue := "reply_" + d.topic
			replies := d.listen(t, queue)
			p := amqp.Publishing{ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: 2,
				Body: row.body(map[string]any{"method": "list_protectable_types", "args": map[string]any{}, "version": "1.0",
					"_msg_id": id, "_reply_q": queue, "_timeout": nil, "_unique_id": id})}
			switch row.contentType {
			case "":
			case "none":
				p.ContentType = ""
			default:
				p.ContentType = row.contentType
			}
			d.publishRaw(t, d.exchange, d.topic, p)
			if row.want == silence {
				d.serves(t) // and what it takes from the queue is its own answer
				return
			}
			r := openReply(t, receive(t, replies).Body)
			if r.MsgID != id {
				t.Fatalf("the reply is to call %s", r.MsgID)
			}
			f := r.failure(t)
			switch {
			case row.want == served && f != nil:
				t.Errorf("%s: %s", f.Class, f.Message)
			case row.want == fails && (f == nil || !strings.Contains(f.Class, row.class) || f.Message == ""):
				t.Errorf("failure is %+v", f)
			}
		})
	}
	d.serves(t)
}

// TestCompressed sends a request as kombu compresses it.
func TestCompressed(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	queue := "reply_" + d.topic
	replies := d.listen(t, queue)
	var body bytes.Buffer
	w := zlib.NewWriter(&body)
	_, _ = w.Write(envelope(t, map[string]any{"method": "list_protectable_types", "args": map[string]any{}, "version": "1.0",
		"_msg_id": "compressed", "_reply_q": queue, "_unique_id": "compressed"}))
	_ = w.Close()
	d.publishRaw(t, d.exchange, d.topic, amqp.Publishing{ContentType: "application/json", ContentEncoding: "utf-8",
		Headers: amqp.Table{"compression": "application/x-gzip"}, Body: body.Bytes()})
	if r := openReply(t, receive(t, replies).Body); r.failure(t) != nil || len(r.Result) < 10 {
		t.Errorf("reply is %+v", *r)
	}
}

// TestRepeatedRequest has a request twice, as a client that has lost its
// connection sends it. It is done once.
func TestRepeatedRequest(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	queue := "reply_" + d.topic
	replies := d.listen(t, queue)
	body := envelope(t, map[string]any{"method": "protect", "args": map[string]any{"plan": usualPlan}, "version": "1.0",
		"_msg_id": "repeated", "_reply_q": queue, "_unique_id": "repeated", "_context_project_id": caller["project_id"],
		"_context_user_id": caller["user_id"]})
	for range 2 {
		d.publishRaw(t, d.exchange, d.topic, amqp.Publishing{ContentType: "application/json", ContentEncoding: "utf-8", Body: body})
	}
	if f := openReply(t, receive(t, replies).Body).failure(t); f != nil {
		t.Fatalf("%+v", f)
	}
	objection := eventually(func() string {
		r := d.call(t, request{Method: "list_checkpoints", Args: map[string]any{"provider_id": noop}})
		if ids, _ := listing(r.Result); len(ids) != 1 {
			return fmt.Sprintf("%d checkpoints", len(ids))
		}
		return ""
	})
	if objection != "" {
		t.Error(objection)
	}
}
