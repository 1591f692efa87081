// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

// A server and a client; with package rabbit instead of rpctest either could be
// written in Python.
func Example() {
	ctx := context.Background()
	broker := rpctest.NewBroker()
	transport := broker.Transport()
	defer func() { _ = transport.Close(ctx) }()

	heard := make(chan string)
	plans := rpc.Endpoint{Version: "1.2", Methods: map[string]rpc.Method{
		"double": {Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			var n int
			if err := r.Unpack(rpc.Required("n", &n)); err != nil {
				return nil, err
			}
			return 2 * n, nil
		}},
		"greet": {Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			heard <- string(r.Args["name"])
			return nil, nil
		}},
		"fail": {Handler: func(context.Context, *rpc.Request) (any, error) {
			return nil, rpc.NewFailure("builtins", "ValueError", "no such plan")
		}},
	}}
	target := rpc.Target{Topic: "plans", Server: "host1"}
	server, err := rpc.NewServer(transport, target, []rpc.Endpoint{plans}, rpc.ServerOptions{Ping: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Stop(ctx) }()

	client := rpc.NewClient(transport, rpc.Target{Topic: "plans", Version: "1.0"}, rpc.ClientOptions{})
	var doubled int
	err = client.Call(ctx, rpc.Context{"user_id": []byte(`"u1"`)}, "double", map[string]any{"n": 21}, &doubled)
	fmt.Println("call:", doubled, err)

	err = client.Call(ctx, nil, "fail", nil, nil)
	fmt.Println("failure:", err, errors.Is(err, &rpc.Failure{Class: "ValueError"}))

	err = client.Cast(ctx, nil, "greet", map[string]any{"name": "one"})
	fmt.Println("cast:", <-heard, err)

	all := client.Prepare(func(t *rpc.Target) { t.Fanout = true })
	err = all.Cast(ctx, nil, "greet", map[string]any{"name": "all"})
	fmt.Println("fanout:", <-heard, err)
	// Output:
	// call: 42 <nil>
	// failure: ValueError: no such plan true
	// cast: "one" <nil>
	// fanout: "all" <nil>
}
