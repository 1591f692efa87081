// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label "code" that are not HTTP status codes.
const (
	codeNone      = "none"      // no answer
	codeAbandoned = "abandoned" // the caller gave up
	codeOther     = "other"     // a code that HTTP does not define
)

// answerBuckets are the upper bounds of the histogram in seconds: from a look-up
// in a memory to a backup that answers when it is done.
var answerBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// Metrics count the calls of a Factory's clients by service. The labels hold only
// service names and HTTP status codes, never projects, resources or tokens, so the
// number of series is bounded.
type Metrics struct {
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	waiting  *prometheus.GaugeVec
	retries  *prometheus.CounterVec
}

var _ prometheus.Collector = (*Metrics)(nil)

func newMetrics() *Metrics {
	const name, code = "service", "code"
	counter := func(metric, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metric, Help: help}, labels)
	}
	gauge := func(metric, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metric, Help: help}, []string{name})
	}
	return &Metrics{
		calls: counter("openstack_calls_total", "Calls that have ended, by service and HTTP code; each attempt is one.", name, code),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "openstack_call_duration_seconds", Help: "How long it took until an answer began.", Buckets: answerBuckets,
		}, []string{name}),
		inFlight: gauge("openstack_calls_in_flight", "Calls that wait for their answer."),
		waiting:  gauge("openstack_calls_waiting", "Calls that wait for their turn."),
		retries:  counter("openstack_retries_total", "Calls that are made again, by the HTTP code of the attempt before.", name, code),
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.calls, m.duration, m.inFlight, m.waiting, m.retries}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(out)
	}
}

// of returns the meter of one service.
func (m *Metrics) of(service string) *meter {
	return &meter{
		metrics: m, service: service, inFlight: m.inFlight.WithLabelValues(service),
		waiting: m.waiting.WithLabelValues(service), duration: m.duration.WithLabelValues(service),
	}
}

// meter counts the calls of one service.
type meter struct {
	metrics           *Metrics
	service           string
	inFlight, waiting prometheus.Gauge
	duration          prometheus.Observer
}

func (m *meter) retried(resp *http.Response, err error) {
	m.metrics.retries.WithLabelValues(m.service, codeOf(resp, err)).Inc()
}

// metered measures each call until the answer begins.
type metered struct {
	meter *meter
	next  http.RoundTripper
}

// RoundTrip sends the call.
func (m *metered) RoundTrip(req *http.Request) (*http.Response, error) {
	began := time.Now()
	m.meter.inFlight.Inc()
	defer m.meter.inFlight.Dec()
	resp, err := m.next.RoundTrip(req)
	m.meter.duration.Observe(time.Since(began).Seconds())
	m.meter.metrics.calls.WithLabelValues(m.meter.service, codeOf(resp, err)).Inc()
	return resp, err
}

func codeOf(resp *http.Response, err error) string {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return codeAbandoned
	case err != nil || resp == nil:
		return codeNone
	case http.StatusText(resp.StatusCode) == "":
		return codeOther
	}
	return strconv.Itoa(resp.StatusCode)
}
