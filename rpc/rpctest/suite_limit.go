// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/rpc"
)

// limitChecks cover messages that exceed the broker's limit.
var limitChecks = []check{
	{"TooLargeAnswer", checkTooLargeAnswer},
	{"TooLargeRequest", checkTooLargeRequest},
}

// beside runs f several times concurrently with small calls, each of which must be
// answered.
func beside(h *harness, f func(c *rpc.Client)) {
	h.t.Helper()
	c := h.client(rpc.ClientOptions{})
	var calls sync.WaitGroup
	for range 16 {
		calls.Go(func() {
			for range 10 {
				var got string
				if err := c.Call(h.ctx, nil, "small", nil, &got); err != nil || got != "ok" {
					h.t.Errorf("a small call beside: %q, %v", got, err)
					return
				}
			}
		})
	}
	for range 2 {
		calls.Go(func() {
			for range 2 {
				f(c)
			}
		})
	}
	calls.Wait()
}

// The caller of an answer that is too large gets a failure; other callers are not
// affected.
func checkTooLargeAnswer(t *testing.T, h *harness) {
	large := h.tooLarge()
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"small": returns("ok"),
		"large": returns(large),
		"fail":  func(context.Context, *rpc.Request) (any, error) { return nil, errors.New(large) },
	}))
	beside(h, func(c *rpc.Client) {
		err := c.Call(h.ctx, nil, "large", nil, nil)
		expectFailure(t, err, "RuntimeError", "builtins")
		if err != nil && (len(err.Error()) > 1000 || !strings.Contains(err.Error(), "the answer of large")) {
			t.Errorf("the failure is %.1000s", err)
		}
		var failure *rpc.Failure
		if err := c.Call(h.ctx, nil, "fail", nil, nil); !errors.As(err, &failure) {
			t.Errorf("error is %.1000s", err)
		}
	})
}

// A request that is too large fails at once; other requests are not affected.
func checkTooLargeRequest(t *testing.T, h *harness) {
	large := map[string]any{"x": h.tooLarge()}
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{"small": returns("ok")}))
	beside(h, func(c *rpc.Client) {
		for name, err := range map[string]error{
			"call": c.Call(h.ctx, nil, "small", large, nil),
			"cast": c.Cast(h.ctx, nil, "small", large),
		} {
			if !errors.Is(err, rpc.ErrRefused) || !errors.Is(err, rpc.ErrDelivery) {
				t.Errorf("%s: error is %v", name, err)
			}
		}
	})
}
