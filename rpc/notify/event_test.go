// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

func TestChecklist60_Timestamps(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("", 2*3600)
	for want, at := range map[string]time.Time{
		"2026-01-02 03:04:05":        time.Date(2026, 1, 2, 5, 4, 5, 999, east),
		"2026-01-02 03:04:05.678900": time.Date(2026, 1, 2, 3, 4, 5, 678900999, time.UTC),
	} {
		if got := timestamp(at); got != want {
			t.Errorf("%v is %q, want %q", at, got, want)
		}
	}
}

func TestChecklist60_Priorities(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Priority{
		"INFO": Info, "warning": Warn, "Warn": Warn, "sample": Sample, "AUDIT": Audit, "": "", "loud": "",
	} {
		if got, err := ParsePriority(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
}

func TestSeenForgetsTheOldest(t *testing.T) {
	t.Parallel()
	s := newSeen()
	for i := range window + 1 {
		s.add(strings.Repeat("x", i+1))
		s.add(strings.Repeat("x", i+1))
	}
	s.add("")
	if s.has("x") || !s.has("xx") || s.has("") || len(s.ids) != window {
		t.Error("not the last of the window are known")
	}
}

func TestTextThatNobodyReadsIsNotSent(t *testing.T) {
	t.Parallel()
	for _, e := range []Event{
		{Priority: Info, Payload: json.RawMessage("\"\xce\"")},
		{Priority: Info, Payload: json.RawMessage("{}"), Context: rpc.Context{"user": json.RawMessage("\"\xce\"")}},
	} {
		if text, err := e.encode("u"); !errors.Is(err, errNotUTF8) {
			t.Errorf("%q, %v", text, err)
		}
	}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"message_id": "m", "publisher_id": "p", "event_type": "e", "priority": "INFO", "payload": {"a": [1]},
		"timestamp": "2026-11-22 15:46:41.700999", "_unique_id": "u", "_context_user": "u1", "_context_auth_token": null}`))
	f.Add([]byte(`{"payload": 1e400, "priority": "warning", "timestamp": "0000-01-01 00:00:00", "_context_": "", "message_id": 5}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if !json.Valid(payload) || !utf8.Valid(payload) {
			return // transports have rejected it
		}
		e, id, known, err := decode(payload)
		if err != nil || !known {
			return
		}
		text, err := e.encode(id)
		if err != nil {
			t.Fatal(err)
		}
		m := rpc.Incoming{ContentType: rpc.ContentType, Body: rpc.Envelope(text)}
		opened, err := m.Payload()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, sameID, _, err := decode(opened)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.encode(sameID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(text), string(second)); diff != "" {
			t.Fatal(diff)
		}
	})
}
