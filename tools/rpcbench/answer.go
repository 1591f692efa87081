// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
)

// answer is what the tool wants to know of a reply.
type answer struct {
	id      []byte
	ending  bool
	failure string // class of the exception, empty for success
}

// Members of a reply inside the envelope's text, as Python and this project's
// server write them.
var (
	idMember  = []byte(`\"_msg_id\": \"`)
	noFailure = []byte(`\"failure\": null`)
	notEnding = []byte(`\"ending\": false`)
)

// readAnswer finds the members by their text, which spares two JSON decoders. The
// id is the last such member: a result may hold others.
func readAnswer(body []byte) (answer, bool) {
	i := bytes.LastIndex(body, idMember)
	if i < 0 || len(body) < i+len(idMember)+32 {
		return decodeAnswer(body)
	}
	if !bytes.Contains(body, noFailure) && bytes.Contains(body, []byte(`\"failure\":`)) {
		return decodeAnswer(body)
	}
	i += len(idMember)
	return answer{id: body[i : i+32], ending: !bytes.Contains(body, notEnding)}, true
}

// decodeAnswer is for failures and unusual replies.
func decodeAnswer(body []byte) (answer, bool) {
	var envelope struct {
		Message string `json:"oslo.message"`
	}
	var reply struct {
		ID      string          `json:"_msg_id"`
		Ending  bool            `json:"ending"`
		Failure json.RawMessage `json:"failure"`
	}
	if json.Unmarshal(body, &envelope) != nil || json.Unmarshal([]byte(envelope.Message), &reply) != nil {
		return answer{}, false
	}
	a := answer{id: []byte(reply.ID), ending: reply.Ending}
	var text string
	if json.Unmarshal(reply.Failure, &text) != nil || text == "" {
		return a, true
	}
	var failure struct {
		Class string `json:"class"`
	}
	a.failure = "failure"
	if json.Unmarshal([]byte(text), &failure) == nil && failure.Class != "" {
		a.failure = failure.Class
	}
	return a, true
}
