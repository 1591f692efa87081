// SPDX-License-Identifier: Apache-2.0

package notify_test

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/notify"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

// With a transport of package rabbit, either side could be written in Python.
func Example() {
	ctx := context.Background()
	transport := rpctest.NewBroker().Transport()
	defer func() { _ = transport.Close(ctx) }()

	notifier := notify.New("karbor.host1", notify.Options{}, notify.Messaging(transport, notify.MessagingOptions{}))
	// Nobody listens yet: the event waits in the queue notifications.info.
	rc := rpc.Context{"user_id": []byte(`"u1"`), "auth_token": []byte(`"never sent"`)}
	err := notifier.Info(ctx, rc, "plan.create.end", map[string]any{"plan_id": "p1"})
	fmt.Println("sent:", err)

	heard := make(chan *notify.Event)
	listener, err := notify.NewListener(transport, []notify.Source{{Topic: "notifications"}}, []notify.Endpoint{{
		Handlers: map[notify.Priority]notify.Handler{
			notify.Info: func(_ context.Context, e *notify.Event) error { heard <- e; return nil },
		},
	}}, notify.ListenerOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := listener.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = listener.Stop(ctx) }()
	e := <-heard
	fmt.Println(e.PublisherID, e.Type, string(e.Payload), string(e.Context["user_id"]), string(e.Context["auth_token"]))
	// Output:
	// sent: <nil>
	// karbor.host1 plan.create.end {"plan_id":"p1"} "u1" null
}
