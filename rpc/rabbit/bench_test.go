// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// BenchmarkCall measures whole calls: client, broker, server and back.
func BenchmarkCall(b *testing.B) {
	u := brokerURL(b)
	target := rpc.Target{Topic: "bench" + rpc.NewID()[:8], Server: "one"}
	server, err := rpc.NewServer(connect(b, u, rabbit.DefaultOptions()), target, []rpc.Endpoint{{
		Methods: map[string]rpc.Method{"echo": {Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			return r.Args, nil
		}}},
	}}, rpc.ServerOptions{})
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop(context.Background()) })
	client := rpc.NewClient(connect(b, u, rabbit.DefaultOptions()), rpc.Target{Topic: target.Topic}, rpc.ClientOptions{})
	rc := rpc.Context{"user_id": []byte(`"u1"`), "project_id": []byte(`"p1"`), "roles": []byte(`["admin"]`)}
	args := map[string]any{"plan_id": "11111111-2222-3333-4444-555555555555", "n": 1}
	b.ReportAllocs()
	before := cpuTime(b)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var result map[string]any
			if err := client.Call(b.Context(), rc, "echo", args, &result); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-us/call")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// cpuTime is what this process has used, client and server together.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
