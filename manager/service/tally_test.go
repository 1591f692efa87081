// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// served is the registry of an instance with counts of its own.
func served(counts ...string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	total := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total"}, []string{"method"})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "seconds", Buckets: []float64{1, 10}})
	running := prometheus.NewGauge(prometheus.GaugeOpts{Name: "running"})
	cpu := prometheus.NewCounter(prometheus.CounterOpts{Name: "process_cpu_seconds_total"})
	registry.MustRegister(total, seconds, running, cpu)
	for _, method := range counts {
		total.WithLabelValues(method).Inc()
		seconds.Observe(2)
		running.Inc()
		cpu.Inc()
	}
	return registry
}

// Counts go on over the instances that a process has, while the old one ends its work
// and afterwards. Gauges, and the counts of the process, are those of the last one.
func TestCountsSurviveReloads(t *testing.T) {
	t.Parallel()
	process := prometheus.NewRegistry()
	process.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "operations_total"}, func() float64 { return 9 }))
	all := &tally{process: process}
	first, next, last := served("a", "a", "b"), served("b", "c"), served("a")
	page := promhttp.HandlerFor(all, promhttp.HandlerOpts{})
	want := func(when string, lines ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		var got []string
		for line := range strings.Lines(w.Body.String()) {
			if !strings.HasPrefix(line, "#") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if diff := cmp.Diff(append([]string{"operations_total 9"}, lines...), got); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	all.serve(first)
	all.serve(first)
	want("first", "process_cpu_seconds_total 3", `requests_total{method="a"} 2`, `requests_total{method="b"} 1`, "running 3",
		`seconds_bucket{le="1"} 0`, `seconds_bucket{le="10"} 3`, `seconds_bucket{le="+Inf"} 3`, "seconds_sum 6", "seconds_count 3")
	second := []string{
		"process_cpu_seconds_total 2", `requests_total{method="a"} 2`, `requests_total{method="b"} 2`, `requests_total{method="c"} 1`, "running 2",
		`seconds_bucket{le="1"} 0`, `seconds_bucket{le="10"} 5`, `seconds_bucket{le="+Inf"} 5`, "seconds_sum 10", "seconds_count 5",
	}
	all.serve(next)
	want("while the first ends", second...)
	all.end(first)
	all.end(first)
	want("after the first", second...)
	third := []string{
		"process_cpu_seconds_total 1", `requests_total{method="a"} 3`, `requests_total{method="b"} 2`, `requests_total{method="c"} 1`, "running 1",
		`seconds_bucket{le="1"} 0`, `seconds_bucket{le="10"} 6`, `seconds_bucket{le="+Inf"} 6`, "seconds_sum 12", "seconds_count 6",
	}
	all.serve(last)
	want("while the second ends", third...)
	all.end(next)
	want("third", third...)
	want("third again", third...)
}
