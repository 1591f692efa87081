// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

// serve starts a server for an example.
func serve(t rpc.Transport, target rpc.Target, methods map[string]rpc.Handler) (stop func()) {
	e := rpc.Endpoint{Methods: map[string]rpc.Method{}}
	for name, h := range methods {
		e.Methods[name] = rpc.Method{Handler: h}
	}
	server, err := rpc.NewServer(t, target, []rpc.Endpoint{e}, rpc.ServerOptions{})
	if err == nil {
		err = server.Start(context.Background())
	}
	if err != nil {
		panic(err)
	}
	return func() { _ = server.Stop(context.Background()) }
}

// A method that starts work keeps its request with the broker until the work is
// on record: a crash before Accept brings the request to another server.
func ExampleServer() {
	ctx := context.Background()
	transport := rpctest.NewBroker().Transport()
	defer func() { _ = transport.Close(ctx) }()

	protect := func(_ context.Context, r *rpc.Request) (any, error) {
		var plan string
		if err := r.Unpack(rpc.Required("plan", &plan)); err != nil {
			return nil, err
		}
		// ... write down what is to be done ...
		r.Accept()
		// ... and do it; the answer tells the caller where to look.
		return map[string]string{"checkpoint": plan + "-1"}, nil
	}
	server, err := rpc.NewServer(transport, rpc.Target{Topic: "protection", Server: "host1"}, []rpc.Endpoint{{
		Version: "1.0",
		Methods: map[string]rpc.Method{"protect": {Handler: protect, Delivery: rpc.UntilAccepted}},
	}}, rpc.ServerOptions{Workers: 16, Ping: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Stop(ctx) }()

	client := rpc.NewClient(transport, rpc.Target{Topic: "protection", Version: "1.0"}, rpc.ClientOptions{})
	var answer struct{ Checkpoint string }
	err = client.Call(ctx, nil, "protect", map[string]any{"plan": "p"}, &answer)
	fmt.Println(answer.Checkpoint, err)
	err = client.Call(ctx, nil, "protect", map[string]any{"plan": "p", "color": "red"}, nil)
	fmt.Println(err)
	// Output:
	// p-1 <nil>
	// TypeError: protect() got an unexpected keyword argument 'color'
}

// Options and targets are changed for a call or two by deriving a client.
func ExampleClient_Call() {
	ctx := context.Background()
	transport := rpctest.NewBroker().Transport()
	defer func() { _ = transport.Close(ctx) }()
	defer serve(transport, rpc.Target{Topic: "plans", Server: "host1"}, map[string]rpc.Handler{
		"size": func(context.Context, *rpc.Request) (any, error) { return 3, nil },
		"read": func(context.Context, *rpc.Request) (any, error) {
			return nil, rpc.NewFailure("karbor.exception", "PlanNotFound", "Plan p could not be found.")
		},
		"ponder": func(ctx context.Context, _ *rpc.Request) (any, error) {
			<-ctx.Done() // when the caller has given up
			return nil, context.Cause(ctx)
		},
	})()

	client := rpc.NewClient(transport, rpc.Target{Topic: "plans"}, rpc.ClientOptions{Timeout: 30 * time.Second})
	var size int
	err := client.Prepare(func(t *rpc.Target) { t.Server = "host1" }).Call(ctx, nil, "size", nil, &size)
	fmt.Println(size, err)

	err = client.Call(ctx, nil, "read", map[string]any{"id": "p"}, nil)
	var failure *rpc.Failure
	fmt.Println(errors.As(err, &failure), failure.Module, failure.Class)

	hasty := client.With(func(o *rpc.ClientOptions) { o.Timeout = 10 * time.Millisecond })
	err = hasty.Call(ctx, nil, "ponder", nil, nil)
	fmt.Println(err != nil)
	// Output:
	// 3 <nil>
	// true karbor.exception PlanNotFound
	// true
}

// A cast returns when the broker has it.
func ExampleClient_Cast() {
	ctx := context.Background()
	transport := rpctest.NewBroker().Transport()
	defer func() { _ = transport.Close(ctx) }()
	done := make(chan string)
	defer serve(transport, rpc.Target{Topic: "engine", Server: "host1"}, map[string]rpc.Handler{
		"delete_trigger": func(_ context.Context, r *rpc.Request) (any, error) {
			done <- string(r.Args["trigger_id"]) + " for " + string(r.Context["user_id"])
			return nil, nil
		},
	})()

	client := rpc.NewClient(transport, rpc.Target{Topic: "engine"}, rpc.ClientOptions{})
	err := client.Cast(ctx, rpc.Context{"user_id": []byte(`"u1"`)}, "delete_trigger", map[string]any{"trigger_id": "t1"})
	fmt.Println(<-done, err)
	// Output:
	// "t1" for "u1" <nil>
}

// A fanout reaches every server of the topic.
func ExampleClient_Prepare() {
	ctx := context.Background()
	transport := rpctest.NewBroker().Transport()
	defer func() { _ = transport.Close(ctx) }()
	heard := make(chan string)
	for _, host := range []string{"host1", "host2"} {
		defer serve(transport, rpc.Target{Topic: "engine", Server: host}, map[string]rpc.Handler{
			"reload": func(context.Context, *rpc.Request) (any, error) { heard <- host; return nil, nil },
		})()
	}

	client := rpc.NewClient(transport, rpc.Target{Topic: "engine"}, rpc.ClientOptions{})
	all := client.Prepare(func(t *rpc.Target) { t.Fanout = true })
	err := all.Cast(ctx, nil, "reload", nil)
	hosts := []string{<-heard, <-heard}
	sort.Strings(hosts)
	fmt.Println(hosts, err)
	// Output:
	// [host1 host2] <nil>
}
