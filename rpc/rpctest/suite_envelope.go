// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/rpc"
)

// malformed lists the malformed messages that a server rejects.
var malformed = map[string]RawMessage{
	"bad JSON":            jsonMessage([]byte(`{"oslo.version": `)),
	"invalid UTF-8":       jsonMessage([]byte("{\"method\": \"\xff\"}")),
	"array":               jsonMessage([]byte(`[1, 2]`)),
	"null":                jsonMessage([]byte(`null`)),
	"payload not JSON":    jsonMessage(wrapped(`{`)),
	"payload list":        jsonMessage(wrapped(`[1]`)),
	"payload null":        jsonMessage(wrapped(`null`)),
	"payload empty":       jsonMessage(wrapped(``)),
	"payload as object":   jsonMessage([]byte(`{"oslo.version": "2.0", "oslo.message": {"method": "note"}}`)),
	"NaN":                 jsonMessage(wrapped(`{"method": "note", "args": {"x": NaN}}`)),
	"no content type":     {Body: wrapped(`{"method": "note"}`)},
	"text/plain":          {ContentType: "text/plain", Body: wrapped(`{"method": "note"}`)},
	"octets":              {ContentType: "application/octet-stream", Body: wrapped(`{"method": "note"}`)},
	"pickle":              {ContentType: "application/x-python-serialize", Body: wrapped(`{"method": "note"}`)},
	"encoding":            {ContentType: rpc.ContentType, ContentEncoding: "klingon", Body: wrapped(`{"method": "note"}`)},
	"envelope 1.0":        jsonMessage([]byte(`{"oslo.version": "1.0", "oslo.message": "{\"method\": \"note\"}"}`)),
	"envelope 2":          jsonMessage([]byte(`{"oslo.version": "2", "oslo.message": "{\"method\": \"note\"}"}`)),
	"envelope 2.1":        jsonMessage([]byte(`{"oslo.version": "2.1", "oslo.message": "{\"method\": \"note\"}"}`)),
	"envelope 3.0":        jsonMessage([]byte(`{"oslo.version": "3.0", "oslo.message": "{\"method\": \"note\"}"}`)),
	"envelope abc":        jsonMessage([]byte(`{"oslo.version": "abc", "oslo.message": "{\"method\": \"note\"}"}`)),
	"envelope empty":      jsonMessage([]byte(`{"oslo.version": "", "oslo.message": "{\"method\": \"note\"}"}`)),
	"envelope number":     jsonMessage([]byte(`{"oslo.version": 2.0, "oslo.message": "{\"method\": \"note\"}"}`)),
	"broken compression":  {ContentType: rpc.ContentType, Compression: rpc.CompressionGzip, Body: []byte("plain")},
	"two JSON values":     jsonMessage([]byte(`{} {}`)),
	"payload two objects": jsonMessage(wrapped(`{"method": "note"}{}`)),
	"reply queue number":  jsonMessage(wrapped(`{"method": "note", "_msg_id": "m", "_reply_q": 5}`)),
	"reply queue object":  jsonMessage(wrapped(`{"_reply_q": {"a": "b"}, "method": "note", "_msg_id": "m"}`)),
	"reply queue false":   jsonMessage(wrapped(`{"method": "note", "_msg_id": "m", "_reply_q": false}`)),
	"reply queue's name":  jsonMessage(wrapped(`{"method": "note", "_msg_id": "m", "_reply_q": "` + strings.Repeat("q", 256) + `"}`)),
}

func checkMalformed(t *testing.T, h *harness) {
	var runs atomic.Int32
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"note": func(context.Context, *rpc.Request) (any, error) { return runs.Add(1), nil },
	}))
	for _, m := range malformed {
		h.Wire.Put(h.queue(), m)
	}
	// These messages are acknowledged and name no queue for an answer.
	h.Wire.Put(h.queue(), jsonMessage(nil))
	h.Wire.Put(h.queue(), jsonMessage([]byte(`{"oslo.message": "{\"method\": \"note\"}"}`)))
	var got int
	if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, "note", nil, &got); err != nil {
		t.Fatalf("call after malformed messages: %v", err)
	}
	if got != 1 || h.Wire.Len(h.queue()) != 0 {
		t.Errorf("%d executions, %d messages left", got, h.Wire.Len(h.queue()))
	}
}

func checkEnvelopes(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{"text": func(_ context.Context, r *rpc.Request) (any, error) {
		return r.Args["x"], nil
	}}))
	answers := "reply_" + rpc.NewID()
	h.Wire.Declare(answers)
	defer h.Wire.Delete(answers)
	payload := `{"method": "text", "args": {"x": "é\u2603"}, "namespace": null, "unknown": [1, {"a": "}"}], "_msg_id": "m", "_reply_q": "` + answers + `"}`
	inner, _ := json.Marshal(payload)
	latin := []byte("{\"method\": \"text\", \"args\": {\"x\": \"\xe9\\u2603\"}, \"_msg_id\": \"m\", \"_reply_q\": \"" + answers + "\"}")
	charset := jsonMessage([]byte(payload))
	charset.ContentType = "application/json; charset=utf-8"
	plain := jsonMessage([]byte(payload))
	plain.ContentEncoding, plain.DeliveryMode, plain.Compression = "", 1, "application/x-unknown"
	for name, m := range map[string]RawMessage{
		"bare":    jsonMessage([]byte(payload)),
		"2.0.0":   jsonMessage([]byte(`{"extra": 1, "oslo.version": "2.0.0", "oslo.message": ` + string(inner) + `}`)),
		"charset": charset,
		"plain":   plain,
		"latin-1": {ContentType: rpc.ContentType, ContentEncoding: "iso-8859-1", Body: latin},
	} {
		h.Wire.Put(h.queue(), m)
		if r := h.answer(answers); r.Result != "é☃" || r.Failure != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// bzipped is the bzip2 of {"method": "note"} in base64; the library only reads bzip2.
const bzipped = "QlpoOTFBWSZTWYIc6fUAAAgZgFAAABAGQ4QKIAAxA0DQKaempmR4MEpqBxM/w6LuSKcKEhBDnT6g"

func checkCompressed(t *testing.T, h *harness) {
	ran := make(chan struct{}, 4)
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"note": func(context.Context, *rpc.Request) (any, error) { ran <- struct{}{}; return nil, nil },
	}))
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(wrapped(`{"method": "note"}`))
	_ = z.Close()
	h.Wire.Put(h.queue(), RawMessage{ContentType: rpc.ContentType, ContentEncoding: rpc.ContentEncoding, Compression: rpc.CompressionGzip, Body: b.Bytes()})
	wait(t, ran, "the zlib request")
	body, err := base64.StdEncoding.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	h.Wire.Put(h.queue(), RawMessage{ContentType: rpc.ContentType, ContentEncoding: rpc.ContentEncoding, Compression: rpc.CompressionBz2, Body: body})
	wait(t, ran, "the bzip2 request")
}
