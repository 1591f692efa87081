// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"log"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// A program that asks karbor-operationengine, in Go or Python, over RabbitMQ. It
// needs a broker and is compiled, not run.
func Example() {
	ctx := context.Background()
	url, err := rpc.ParseTransportURL("rabbit://user:secret@rabbit1:5672,user:secret@rabbit2:5672/?rabbit_quorum_queue=true")
	if err != nil {
		log.Fatal(err)
	}
	transport, err := rabbit.New(url, rabbit.DefaultOptions(), logrus.StandardLogger())
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = transport.Close(ctx) }()

	client := rpc.NewClient(transport, rpc.Target{Topic: "karbor-operationengine", Version: "1.0"}, rpc.ClientOptions{Timeout: time.Minute})
	var answer map[string]any
	if err := client.Call(ctx, rpc.Context{"is_admin": []byte("true")}, "verify_trigger", map[string]any{"trigger_id": "t1"}, &answer); err != nil {
		log.Print(err)
	}
}
