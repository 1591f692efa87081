// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// busy takes all tokens for decompression until the returned function is called.
func busy() (release func()) {
	for range cap(decompressing) {
		decompressing <- struct{}{}
	}
	return func() {
		for range cap(decompressing) {
			<-decompressing
		}
	}
}

func compressed(t *testing.T, payload string) Incoming {
	t.Helper()
	body, err := Compress(Envelope([]byte(payload)))
	if err != nil {
		t.Fatal(err)
	}
	return Incoming{ContentType: ContentType, Compression: CompressionGzip, Body: body}
}

func plainMessage(payload string) Incoming {
	return Incoming{ContentType: ContentType, Body: Envelope([]byte(payload))}
}

// What takes long to decompress holds up neither the pump nor a worker.
func TestDecompressionHoldsNobodyUp(t *testing.T) {
	release := busy()
	l := &loopback{replies: make(chan []byte, 8)}
	s, err := NewServer(l, Target{Topic: "t", Server: "s"}, []Endpoint{{Methods: map[string]Method{
		"m": {Handler: func(_ context.Context, r *Request) (any, error) { return r.wire.msgID, nil }},
	}}}, ServerOptions{Workers: 1})
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	request := func(id string) string { return `{"method": "m", "_reply_q": "reply_q", "_msg_id": "` + id + `"}` }
	deliver := func(m Incoming) { m.Acknowledger = l; l.receive(m) }
	for range 10 {
		deliver(compressed(t, request("packed")))
	}
	deliver(plainMessage(request("plain")))
	if reply := string(<-l.replies); !strings.Contains(reply, "plain") {
		t.Errorf("%s came first", reply)
	}
	r := NewReplies("reply_q", nil)
	waiters := map[string]*waiter{}
	for _, id := range []string{"packed", "plain"} {
		if waiters[id], err = r.add(id); err != nil {
			t.Fatal(err)
		}
	}
	// Both parts of a reply, in their order.
	r.Receive(compressed(t, `{"_msg_id": "packed", "result": 1, "ending": false}`))
	r.Receive(compressed(t, `{"_msg_id": "packed", "result": null, "ending": true}`))
	r.Receive(plainMessage(`{"_msg_id": "plain", "result": 2, "ending": true}`))
	if answer := <-waiters["plain"].done; string(answer.result) != "2" {
		t.Errorf("the plain reply is %s", answer.result)
	}
	release()
	if answer := <-waiters["packed"].done; string(answer.result) != "1" {
		t.Errorf("the compressed reply is %s", answer.result)
	}
	for range 10 {
		if reply := string(<-l.replies); !strings.Contains(reply, "packed") {
			t.Error(reply)
		}
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What is rejected is named.
func TestRejectionsAreNamed(t *testing.T) {
	t.Parallel()
	bomb, err := Compress([]byte(strings.Repeat(" ", 1025)))
	if err != nil {
		t.Fatal(err)
	}
	for want, m := range map[string]Incoming{
		`compression "application/x-lzma" is not known`: {ContentType: ContentType, Compression: "application/x-lzma", Body: []byte("\xfd7zXZ\x00")},
		`compression "zstd" is not known`:               {ContentType: ContentType, Compression: "zstd", Body: []byte("(")},
		`decompressing zlib: more than 1024 bytes`:      {ContentType: ContentType, Compression: "zlib", Body: bomb},
		`decompressing gzip: zlib`:                      {ContentType: ContentType, Compression: "gzip", Body: []byte("plain")},
		`NaN and Infinity are not JSON`:                 plainMessage(`{"method": "m", "args": {"x": NaN}}`),
		`"nova" does not begin with reply_`:             plainMessage(`{"method": "m", "_msg_id": "m", "_reply_q": "nova"}`),
	} {
		log := logrus.New()
		out := new(strings.Builder)
		log.SetOutput(out)
		log.SetFormatter(&logrus.JSONFormatter{})
		l := &loopback{replies: make(chan []byte, 1)}
		s, err := NewServer(l, Target{Topic: "t", Server: "s"}, []Endpoint{{}}, ServerOptions{Log: log, MaxDecompressed: 1024})
		if err == nil {
			err = s.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Acknowledger = l
		l.receive(m)
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if logged := strings.ReplaceAll(out.String(), `\"`, `"`); !strings.Contains(logged, want) {
			t.Errorf("no %q in %s", want, logged)
		}
	}
}

// Casts with ids of a megabyte pin none of it.
func TestLongIDsAreNotKept(t *testing.T) {
	t.Parallel()
	l := &loopback{}
	ran := make(chan struct{}, 1)
	s, err := NewServer(l, Target{Topic: "t", Server: "s"}, []Endpoint{{Methods: map[string]Method{
		"m": {Handler: func(context.Context, *Request) (any, error) { ran <- struct{}{}; return nil, nil }},
	}}}, ServerOptions{})
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("u", 1<<20)
	for i := range 20 {
		m := plainMessage(`{"method": "m", "_unique_id": "` + strings.Repeat("i", i) + pad + `"}`)
		m.Acknowledger = l
		l.receive(m)
		<-ran
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(s.recent.jobs) != 20 {
		t.Errorf("%d ids are remembered", len(s.recent.jobs))
	}
	for id := range s.recent.jobs {
		if len(id) > maxID {
			t.Errorf("an id of %d bytes is kept", len(id))
		}
	}
}
