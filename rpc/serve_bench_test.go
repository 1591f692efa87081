// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"testing"
)

// loopback hands requests to a server and takes its replies.
type loopback struct {
	Transport
	receive func(Incoming)
	replies chan []byte
}

func (l *loopback) Listen(_ context.Context, _ Target, _ ListenOptions, receive func(Incoming)) (Listener, error) {
	l.receive = receive
	return l, nil
}

func (l *loopback) Reply(_ context.Context, _ string, body func() []byte) error {
	l.replies <- body()
	return nil
}

func (l *loopback) Cancel(context.Context) error { return nil }
func (l *loopback) Close(context.Context) error  { return nil }
func (l *loopback) Ack() error                   { return nil }
func (l *loopback) Reject(bool) error            { return nil }

// BenchmarkServe takes a request through the whole server and back as a reply:
// what a call costs without a broker and a connection to it.
func BenchmarkServe(b *testing.B) {
	l := &loopback{replies: make(chan []byte, 1)}
	s, err := NewServer(l, Target{Topic: "t", Server: "s"}, []Endpoint{{Methods: map[string]Method{
		"list_providers": {Handler: func(_ context.Context, r *Request) (any, error) {
			return map[string]any{"ctxt": r.Context, "kw": r.Args}, nil
		}},
	}}}, ServerOptions{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	body := benchRequest(b)
	b.ReportAllocs()
	for b.Loop() {
		clear(s.recent.jobs) // it is the same request again and again
		l.receive(Incoming{Acknowledger: l, ContentType: ContentType, ContentEncoding: ContentEncoding, Body: body})
		if reply := <-l.replies; len(reply) < 100 {
			b.Fatalf("%s", reply)
		}
	}
	if err := s.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
}
