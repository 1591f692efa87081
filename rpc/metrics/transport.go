// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// Source tells the state of a transport; *rabbit.Transport does.
type Source interface {
	Stats() rabbit.Stats
}

// Watch adds the state of the program's transport. The state is read whenever the
// metrics are. A registry takes one transport.
func (m *Metrics) Watch(s Source) error { return m.registry.Register(transport{s}) }

// transport makes metrics of a transport's Stats.
type transport struct{ source Source }

var _ prometheus.Collector = transport{}

// The metrics of a transport. The label link is "consume" or "publish", the name
// of one of its connections.
var (
	link = []string{"link"}

	connected = prometheus.NewDesc("rpc_connected",
		"1 while the connection to the broker stands.", link, nil)
	reconnects = prometheus.NewDesc("rpc_reconnects_total",
		"Connections to the broker after the first one.", link, nil)
	blocked = prometheus.NewDesc("rpc_blocked",
		"1 while the broker takes no messages.", link, nil)
	blockedTime = prometheus.NewDesc("rpc_blocked_seconds_total",
		"How long the broker has taken no messages.", link, nil)
	consuming = prometheus.NewDesc("rpc_consuming",
		"1 while requests can arrive.", nil, nil)
	undeliverable = prometheus.NewDesc("rpc_undeliverable_replies_total",
		"Replies given up because the caller's queue is missing.", nil, nil)
)

// Describe implements prometheus.Collector.
func (t transport) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connected, reconnects, blocked, blockedTime, consuming, undeliverable} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (t transport) Collect(out chan<- prometheus.Metric) {
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	put := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	var s rabbit.Stats
	// The registry collects in goroutines of its own, where a panic ends the process.
	if err := rpc.Guard(func() error { s = t.source.Stats(); return nil }); err != nil {
		out <- prometheus.NewInvalidMetric(connected, err)
		return
	}
	for name, l := range map[string]rabbit.LinkStats{"consume": s.Consume, "publish": s.Publish} {
		put(connected, gauge, truth(l.Connected), name)
		put(reconnects, counter, float64(max(l.Connections, 1)-1), name)
		put(blocked, gauge, truth(l.Blocked), name)
		put(blockedTime, counter, l.BlockedTime.Seconds(), name)
	}
	put(consuming, gauge, truth(s.Consuming))
	put(undeliverable, counter, float64(s.Undeliverable))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
