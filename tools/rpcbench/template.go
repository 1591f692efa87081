// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/rpc"
)

// template is a request as it goes over the wire, frames included, in which only
// the two ids change.
type template struct {
	wire   []byte
	msgID  int // offsets of the ids, 32 digits each
	unique int
	run    [16]byte // digits of this run, the first half of all its ids
}

// Places of the ids while the template is built.
var (
	msgIDPlace  = strings.Repeat("M", 32)
	uniquePlace = strings.Repeat("U", 32)
)

// requestContext is about what an API sends along.
const requestContext = `"_context_user_id": "5a7e4c1b2d3f4a5b8c9d0e1f2a3b4c5d", "_context_project_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", ` +
	`"_context_roles": ["admin", "member", "reader"], "_context_is_admin": true, "_context_read_deleted": "no", ` +
	`"_context_request_id": "req-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "_context_global_request_id": null, ` +
	`"_context_auth_token": "gAAAAABm0000000000000000000000000000000000000000", "_context_timestamp": "2026-01-01T00:00:00.000000", ` +
	`"_context_service_catalog": []`

func newTemplate(s *settings, replyQueue string) (*template, error) {
	args := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(s.args), &args); err != nil {
		return nil, fmt.Errorf("--args must be a JSON object: %w", err)
	}
	if s.payload > 0 {
		args["payload"] = json.RawMessage(strconv.Quote(strings.Repeat("x", s.payload)))
	}
	encoded, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	namespace := ""
	if s.target.Namespace != "" {
		namespace = fmt.Sprintf(`, "namespace": %q`, s.target.Namespace)
	}
	payload := fmt.Sprintf(`{"method": %q, "args": %s%s, "version": %q, "_msg_id": %q, "_reply_q": %q, "_timeout": null, "_unique_id": %q, %s}`,
		s.method, encoded, namespace, s.target.Version, msgIDPlace, replyQueue, uniquePlace, requestContext)
	text, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, `{"oslo.version": "2.0", "oslo.message": %s}`, text)
	t := &template{wire: publish(s, body)}
	t.msgID, t.unique = bytes.Index(t.wire, []byte(msgIDPlace)), bytes.Index(t.wire, []byte(uniquePlace))
	if t.msgID < 0 || t.unique < 0 || len(t.wire) > 100<<10 {
		return nil, errors.New("the request does not fit into one frame")
	}
	copy(t.run[:], rpc.NewID())
	return t, nil
}

// publish makes the three frames of a request as oslo.messaging's driver sends it:
// persistent, with the caller's timeout as expiration.
func publish(s *settings, body []byte) []byte {
	// amqp-0-9-1: property flags of class basic
	const contentType, contentEncoding, headers, deliveryMode, expiration = 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 8
	const persistent, noTable = 2, 0
	var w writer
	w.method(publishing, basicPublish).short(0).shortText(s.target.ExchangeName()).shortText(s.target.Topic).octet(0).end()
	w.begin(frameHeader, publishing).short(basicClass).short(0).longlong(uint64(len(body))).
		short(contentType | contentEncoding | headers | deliveryMode | expiration).
		shortText(rpc.ContentType).shortText(rpc.ContentEncoding).long(noTable).octet(persistent).
		shortText(strconv.FormatInt(s.timeout.Milliseconds(), 10)).end()
	w.begin(frameBody, publishing).bytes(body).end()
	return w.buf
}

// append adds the request of a number.
func (t *template) append(dst []byte, number uint64) []byte {
	start := len(dst)
	dst = append(dst, t.wire...)
	var digits [16]byte
	hex.Encode(digits[:], binary.BigEndian.AppendUint64(nil, number))
	for _, at := range []int{t.msgID, t.unique} {
		copy(dst[start+at:], t.run[:])
		copy(dst[start+at+len(t.run):], digits[:])
	}
	return dst
}

// number reads the id of a request back.
func (t *template) number(id []byte) (uint64, bool) {
	if len(id) != 32 || !bytes.Equal(id[:16], t.run[:]) {
		return 0, false
	}
	var raw [8]byte
	if _, err := hex.Decode(raw[:], id[16:]); err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw[:]), true
}
