// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

// A payload comes out of its envelope as it was put in, and what a request says of
// its caller comes back to the caller with the answer.
func FuzzPayload(f *testing.F) {
	for _, g := range readGolden(f) {
		f.Add([]byte(g.Message))
	}
	f.Add([]byte(`{"method": "m", "args": {"a": [1e400, {"b": "\ud800"}]}, "_msg_id": "\"\\\u0000é", "_reply_q": "r", "_timeout": "2"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if !json.Valid(payload) || !utf8.Valid(payload) {
			return
		}
		open := func(body []byte) []byte {
			opened, err := (&Incoming{ContentType: ContentType, Body: body}).payload()
			if err != nil && !errors.Is(err, errNotObject) {
				t.Fatalf("%s: %v", body, err)
			}
			return opened
		}
		opened := open(Envelope(payload))
		if opened == nil {
			return
		}
		if string(opened) != string(payload) {
			t.Fatalf("%q became %q", payload, opened)
		}
		r, err := decodeRequest(opened)
		if err != nil {
			if !errors.Is(err, errReplyQueue) {
				t.Fatal(err)
			}
			return
		}
		answer, err := decodeReply(open(encodeReply(r.wire.msgID, outcome{result: opened}, true)))
		if err != nil {
			t.Fatal(err)
		}
		// Text around the value is not part of it.
		if answer.msgID != r.wire.msgID || answer.failure != nil || string(answer.result) != trimmed(payload) {
			t.Fatalf("%q became %q for %q", payload, answer.result, answer.msgID)
		}
	})
}

func trimmed(text []byte) string {
	start, end := skipSpace(text, 0), len(text)
	for end > start && skipSpace(text[:end], end-1) == end {
		end--
	}
	return string(text[start:end])
}
