// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"testing"
)

// benchRequest is a request of about the size of karbor-api's.
func benchRequest(b *testing.B) []byte {
	o := outgoing{
		target: Target{Topic: "karbor-protection", Version: "1.0"}, method: "list_providers",
		args:  map[string]any{"marker": nil, "limit": nil, "sort_keys": nil, "sort_dirs": nil, "filters": nil},
		msgID: newID(), replyQ: "reply_" + newID(), uniqueID: newID(), wantsReply: true,
		context: Context{
			"user_id": []byte(`"3f1c1bd2a0f34d0f9a9a2a8b1b0c9d8e"`), "project_id": []byte(`"8f1f0a5e6b0b4bb4b4a4b8c5d7e3a9c1"`),
			"roles": []byte(`["member","reader"]`), "request_id": []byte(`"req-0a8f0f0c-7f0c-4b8b-8f53-3b8d8a2b6d57"`),
			"auth_token": bytes.Join([][]byte{[]byte(`"`), bytes.Repeat([]byte("x"), 190), []byte(`"`)}, nil),
			"is_admin":   []byte("false"), "service_catalog": []byte("[]"), "timestamp": []byte(`"2026-01-01T00:00:00.000000"`),
		},
	}
	body, err := o.encode()
	if err != nil {
		b.Fatal(err)
	}
	return body
}

func BenchmarkDecodeRequest(b *testing.B) {
	body := benchRequest(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		m := Incoming{ContentType: ContentType, ContentEncoding: ContentEncoding, Body: body}
		payload, err := m.payload()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := decodeRequest(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeReply(b *testing.B) {
	result := append(append([]byte(`[{"id":"`), bytes.Repeat([]byte(`provider, "x", `), 100)...), `"}]`...)
	b.ReportAllocs()
	for b.Loop() {
		if body := encodeReply("0a8f0f0c7f0c4b8b8f533b8d8a2b6d57", outcome{result: result}, true); len(body) < len(result) {
			b.Fatal("the reply lacks its result")
		}
	}
}
