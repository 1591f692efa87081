// SPDX-License-Identifier: Apache-2.0

package torture

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/metrics"
)

func (w *world) closedByOperator(t *testing.T) {
	w.survives(t, false, func() {
		before := w.connections()
		w.ctl(t, "close_all_connections", "maintenance")
		until(t, "four new connections", func() bool { return w.connections() >= before+4 })
	})
}

func (w *world) applicationRestarted(t *testing.T) {
	w.survives(t, false, func() {
		w.ctl(t, "stop_app")
		until(t, "both ends to be cut off", func() bool { return w.server.away() && w.client.away() })
		w.ctl(t, "start_app")
	})
}

func (w *world) brokerRestarted(t *testing.T) {
	w.survives(t, false, func() {
		w.ctl(t, "stop", filepath.Join(w.folder, "pid"))
		w.node.Kill() // has ended already
		until(t, "both ends to be cut off", func() bool { return w.server.away() && w.client.away() })
		w.start()
	})
}

func (w *world) brokerKilled(t *testing.T) {
	w.survives(t, false, func() {
		w.node.Kill()
		until(t, "both ends to be cut off", func() bool { return w.server.away() && w.client.away() })
		w.start()
	})
}

// memoryAlarm stops publishing and nothing else: what lies in the queues is consumed,
// and the time is counted.
func (w *world) memoryAlarm(t *testing.T) {
	const waiting = 5 * workers // more than a server is sent ahead
	gate, ran := make(chan struct{}), atomic.Int32{}
	target := w.target(t, "alarm")
	begin(t, serve(t, w.server.transport, target, map[string]rpc.Method{
		"wait": {Delivery: rpc.UntilAccepted, Handler: func(context.Context, *rpc.Request) (any, error) {
			<-gate
			ran.Add(1)
			return nil, nil
		}},
	}))
	c := rpc.NewClient(w.client.transport, rpc.Target{Topic: target.Topic}, rpc.ClientOptions{})
	for range waiting {
		must(t, c.Cast(t.Context(), nil, "wait", nil))
	}
	watched := metrics.New()
	must(t, watched.Watch(w.client.transport))
	before := w.client.transport.Stats().Publish
	w.survives(t, false, func() {
		w.ctl(t, "set_vm_memory_high_watermark", "0.000001")
		until(t, "the notice", func() bool { return w.client.transport.Stats().Publish.Blocked })
		close(gate)
		until(t, "what was queued to be consumed", func() bool { return ran.Load() == waiting })
		if s := w.client.transport.Stats().Publish; !s.Blocked || !s.Connected || s.BlockedTime <= before.BlockedTime {
			t.Errorf("%+v", s)
		}
		w.ctl(t, "set_vm_memory_high_watermark", "0.4")
	})
	after := w.client.transport.Stats().Publish
	if after.Blocked || after.Connections != before.Connections {
		t.Errorf("before %+v, after %+v", before, after)
	}
	families, err := watched.Registry().Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == "rpc_blocked_seconds_total" {
			for _, m := range f.GetMetric() {
				if m.GetLabel()[0].GetValue() == "publish" && m.GetCounter().GetValue() < after.BlockedTime.Seconds() {
					t.Errorf("the metric is %v, blocked were %v", m, after.BlockedTime)
				}
			}
			return
		}
	}
	t.Error("no metric of the blocked time")
}
