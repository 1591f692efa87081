// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"testing"
)

// absent is a transport whose broker never comes.
type absent struct {
	Transport
	waiting chan struct{}
}

func (a absent) Listen(ctx context.Context, _ Target, _ ListenOptions, _ func(Incoming)) (Listener, error) {
	close(a.waiting)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestStopEndsAStartThatWaits(t *testing.T) {
	t.Parallel()
	a := absent{waiting: make(chan struct{})}
	s, err := NewServer(a, Target{Topic: "t", Server: "s"}, []Endpoint{{}}, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- s.Start(context.Background()) }()
	<-a.waiting
	for range 2 {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	if err := <-started; !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	if err := s.Start(context.Background()); err == nil {
		t.Error("a server starts twice")
	}
}
