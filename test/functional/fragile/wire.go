// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/test/functional/history"
)

// calls are requests to OpenStack's services with failpoints.
type calls struct {
	http.RoundTripper
	watch *watch
	sent  sync.Map // tokens
}

func (c *calls) RoundTrip(req *http.Request) (res *http.Response, err error) {
	for _, header := range []string{"X-Auth-Token", "X-Service-Token", "X-Subject-Token"} {
		token := req.Header.Get(header)
		if _, known := c.sent.LoadOrStore(token, true); !known && token != "" {
			c.watch.pass(history.Event{What: history.Secret, Key: token})
		}
	}
	e := history.Event{What: history.Call + "." + strings.ToLower(req.Method), Key: req.URL.Path}
	err = c.watch.around(e, func(*history.Event) error {
		res, err = c.RoundTripper.RoundTrip(req)
		return err
	})
	return res, err
}

// transport is the broker with failpoints.
type transport struct {
	rpc.Transport
	watch *watch
}

func (t transport) Listen(ctx context.Context, target rpc.Target, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	return t.Transport.Listen(ctx, target, o, func(m rpc.Incoming) {
		m.Acknowledger = acks{m.Acknowledger, t.watch}
		receive(m)
	})
}

func (t transport) Reply(ctx context.Context, queue string, body func() []byte) error {
	e := history.Event{What: history.Reply}
	e.Key, e.Status, e.Text = answer(body())
	return t.watch.around(e, func(*history.Event) error { return t.Transport.Reply(ctx, queue, body) })
}

// answer returns the id of the call that a reply is for, a digest of what it
// says, and the failure that it tells of.
func answer(body []byte) (id, digest, failure string) {
	var envelope struct {
		Message string `json:"oslo.message"`
	}
	var message struct {
		ID      string          `json:"_msg_id"`
		Result  json.RawMessage `json:"result"`
		Failure json.RawMessage `json:"failure"`
		Ending  bool            `json:"ending"`
	}
	if json.Unmarshal(body, &envelope) != nil || json.Unmarshal([]byte(envelope.Message), &message) != nil || !message.Ending {
		return "", "", ""
	}
	sum := sha256.Sum256(append(append(message.Result, 0), message.Failure...))
	if text := string(message.Failure); text != "null" {
		failure = text
	}
	return message.ID, hex.EncodeToString(sum[:8]), failure
}

type acks struct {
	rpc.Acknowledger
	watch *watch
}

func (a acks) Ack() error {
	return a.watch.around(history.Event{What: history.Ack}, func(*history.Event) error { return a.Acknowledger.Ack() })
}
