// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"errors"
	"testing"

	"github.com/karbor-project/karbor/rpc"
)

// acceptChecks cover methods with the delivery UntilAccepted, which oslo.messaging does
// not have.
var acceptChecks = []check{
	{"Checklist16_AcknowledgedBeforeTheHandler", checkAckFirst},
	{"UntilAccepted_AcknowledgedByAccept", checkAccept},
	{"UntilAccepted_HardStopGivesBack", checkGiveBack},
	{"UntilAccepted_RepeatedGetsTheSameAnswer", checkSameAnswer},
}

// accepting returns an endpoint with the method "start" of the delivery UntilAccepted.
func accepting(handler rpc.Handler) rpc.Endpoint {
	return rpc.Endpoint{Methods: map[string]rpc.Method{"start": {Handler: handler, Delivery: rpc.UntilAccepted}}}
}

// hardStop stops a server without waiting for its handlers.
func hardStop(t *testing.T, s *rpc.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Stop(ctx); err == nil {
		t.Error("a hard stop without an error")
	}
}

func checkAckFirst(t *testing.T, h *harness) {
	started := make(chan struct{}, 1)
	s := h.newServer(func(ctx context.Context, _ *rpc.Request) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}, rpc.AtMostOnce)
	q := h.ask(`"method": "start", "_unique_id": "u1"`)
	wait(t, started, "the handler")
	hardStop(t, s)
	requests := h.successor()
	h.failed(q)
	if len(requests) != 0 || h.Wire.Len(h.queue()) != 0 {
		t.Error("an acknowledged request came back")
	}
}

func checkAccept(t *testing.T, h *harness) {
	accepted := make(chan struct{}, 1)
	s := h.newServer(func(ctx context.Context, r *rpc.Request) (any, error) {
		r.Accept()
		r.Accept()
		accepted <- struct{}{}
		<-ctx.Done()
		return nil, rpc.NewFailure("builtins", "ValueError", "stopped")
	}, rpc.UntilAccepted)
	q := h.ask(`"method": "start", "_unique_id": "u1"`)
	wait(t, accepted, "the acceptance")
	hardStop(t, s)
	requests := h.successor()
	if f := h.failed(q); f.Class != "ValueError" {
		t.Errorf("%+v", f)
	}
	if len(requests) != 0 || h.Wire.Len(h.queue()) != 0 {
		t.Error("an accepted request came back")
	}
}

func checkGiveBack(t *testing.T, h *harness) {
	started := make(chan struct{}, 1)
	s := h.newServer(func(ctx context.Context, _ *rpc.Request) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), rpc.ErrStopped) {
			t.Errorf("cause is %v", context.Cause(ctx))
		}
		return nil, ctx.Err()
	}, rpc.UntilAccepted)
	q := h.ask(`"method": "start", "_unique_id": "u1"`)
	wait(t, started, "the handler")
	hardStop(t, s)
	r := wait(t, h.successor(), "the redelivery")
	if !r.Redelivered || r.UniqueID != "u1" {
		t.Errorf("%+v", r)
	}
	if r := h.answer(q); r.Result != "second" {
		t.Errorf("%+v", r)
	}
}

func checkSameAnswer(t *testing.T, h *harness) {
	runs := make(chan struct{}, 4)
	release := make(chan struct{})
	h.serve(rpc.ServerOptions{}, accepting(func(_ context.Context, r *rpc.Request) (any, error) {
		runs <- struct{}{}
		<-release
		return map[string]string{"id": rpc.NewID()}, nil
	}))
	first := h.ask(`"method": "start", "_unique_id": "u1"`)
	wait(t, runs, "the handler")
	// A repetition of a running request joins it; its own reply queue receives nothing.
	joined := h.ask(`"method": "start", "_unique_id": "u1"`)
	h.silent(joined)
	close(release)
	a := h.answer(first)
	b := h.answer(h.ask(`"method": "start", "_unique_id": "u1"`))
	m, n := a.Result.(map[string]any), b.Result.(map[string]any)
	if m["id"] != n["id"] || len(runs) != 0 {
		t.Errorf("%v, then %v", a, b)
	}
	if a.UniqueID == b.UniqueID {
		t.Error("two replies with one unique id")
	}
	h.until("the queue is empty", func() bool { return h.Wire.Len(h.queue()) == 0 })
}
