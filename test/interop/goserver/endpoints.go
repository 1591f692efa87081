// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"math/big"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// endpoints are a null namespace of version 1.5 and the namespace backup of
// version 2.0.
func endpoints() []rpc.Endpoint {
	return []rpc.Endpoint{
		{Version: "1.5", Methods: map[string]rpc.Method{
			"echo":   {Handler: echo},
			"none":   {Handler: none},
			"slow":   {Handler: slow},
			"fail":   {Handler: fail},
			"failmy": {Handler: failMy},
		}},
		{Namespace: "backup", Version: "2.0", Methods: map[string]rpc.Method{
			"run": {Handler: double},
		}},
	}
}

// echo answers with everything that it was sent.
func echo(_ context.Context, r *rpc.Request) (any, error) {
	return map[string]any{"ctxt": r.Context, "kw": r.Args}, nil
}

func none(_ context.Context, r *rpc.Request) (any, error) {
	return nil, r.Unpack()
}

func slow(ctx context.Context, r *rpc.Request) (any, error) {
	var seconds float64
	if err := r.Unpack(rpc.Required("secs", &seconds)); err != nil {
		return nil, err
	}
	t := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer t.Stop()
	select {
	case <-t.C:
		return "done", nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func fail(_ context.Context, r *rpc.Request) (any, error) {
	var message string
	if err := r.Unpack(rpc.Required("msg", &message)); err != nil {
		return nil, err
	}
	return nil, rpc.NewFailure("builtins", "ValueError", message)
}

func failMy(_ context.Context, r *rpc.Request) (any, error) {
	if err := r.Unpack(); err != nil {
		return nil, err
	}
	f := rpc.NewFailure("common", "MyErr", "custom failure")
	f.Kwargs = map[string]any{"code": 418, "extra": "e"}
	return nil, f
}

// double answers with x*2 as Python computes it: numbers of any size and text.
func double(_ context.Context, r *rpc.Request) (any, error) {
	var x any
	if err := r.Unpack(rpc.Required("x", &x)); err != nil {
		return nil, err
	}
	switch x := x.(type) {
	case string:
		return x + x, nil
	case json.Number:
		if n, ok := new(big.Int).SetString(x.String(), 10); ok {
			return n.Lsh(n, 1), nil
		}
		f, err := x.Float64()
		return 2 * f, err
	default:
		return nil, rpc.NewFailure("builtins", "TypeError", "x must be a number or text")
	}
}
