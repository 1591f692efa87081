// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// ctl runs rabbitmqctl on the broker under test. RABBIT_CTL is the command that
// reaches it, set where nobody else uses the broker: tests with it stop, block or
// empty it as a whole, and do not run in parallel. It gives the command's output.
func ctl(t *testing.T, args ...string) string {
	t.Helper()
	command := strings.Fields(os.Getenv("RABBIT_CTL"))
	if len(command) == 0 {
		t.Skip("RABBIT_CTL is not set: this test needs rabbitmqctl")
	}
	out, err := exec.Command(command[0], append(command[1:], args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("rabbitmqctl %v: %v: %s", args, err, out)
	}
	return string(out)
}

func TestChecklist52_BlockedBroker(t *testing.T) {
	w := newWorld(t)
	w.mustCall("before")
	ctl(t, "set_vm_memory_high_watermark", "0.000001")
	restore := func() { ctl(t, "set_vm_memory_high_watermark", "0.4") }
	defer restore()
	// The broker tells publishers with their next message.
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	first := make(chan error, 1)
	go func() { first <- w.client.Cast(ctx, nil, "count", nil) }()
	until(t, "the notice", func() bool { return w.clientT.Stats().Publish.Blocked })
	cancel()
	if err := <-first; err == nil {
		t.Error("a message is confirmed by a blocked broker")
	}
	again, stop := context.WithTimeout(w.ctx, 100*time.Millisecond)
	defer stop()
	err := w.client.Cast(again, nil, "count", nil)
	if !errors.Is(err, rpc.ErrDelivery) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	if s := w.clientT.Stats(); !s.Publish.Connected || !s.Consume.Connected || s.Publish.Connections != 1 {
		t.Errorf("%+v", s)
	}
	answer := make(chan error, 1)
	go func() { _, err := w.call("count"); answer <- err }()
	restore()
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

func TestChecklist50_BrokerRestarted(t *testing.T) {
	w := newWorld(t)
	w.mustCall("before")
	ctl(t, "stop_app")
	ctl(t, "start_app")
	// A request before the queue is back is lost by the protocol's nature.
	until(t, "the server", func() bool { return w.serverUp(2)() && w.consumers(w.target.Topic) == 1 })
	w.mustCall("after")
}

func TestChecklist47_ConnectionsClosedByTheOperator(t *testing.T) {
	w := newWorld(t)
	w.mustCall("before")
	ctl(t, "close_all_connections", "maintenance")
	until(t, "the server", w.serverUp(2))
	w.mustCall("after")
}
