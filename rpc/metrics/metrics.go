// SPDX-License-Identifier: Apache-2.0

// Package metrics measures a service of package rpc for Prometheus. It uses its own
// registry and no global state, so it exports only what a program adds.
//
// [Metrics.Middleware] counts and times requests, [Metrics.Watch] reads the state
// of a transport whenever the metrics are read, and [Metrics.Handler] serves all
// of it.
package metrics

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/karbor-project/karbor/rpc"
)

// The outcomes of a request, values of the label of that name.
const (
	outcomeSuccess   = "success"
	outcomeFailure   = "failure"   // an error, which the caller gets
	outcomePanic     = "panic"     // the same, but it should never happen
	outcomeAbandoned = "abandoned" // the caller had given up
)

// buckets are the upper bounds of the histogram in seconds: from reads that take
// a millisecond to work that takes minutes.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// Metrics are the measurements of one service.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

// New makes metrics that know of Go's runtime and the process, and of requests
// once the middleware sees some.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rpc_requests_total", Help: "Requests that have ended, by method and outcome.",
		}, []string{"method", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rpc_request_duration_seconds", Help: "How long handlers took.", Buckets: buckets,
		}, []string{"method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rpc_requests_in_flight", Help: "Requests whose handlers are running.",
		}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.inFlight,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registry is where a program adds metrics of its own.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler serves the metrics in the formats that Prometheus reads.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Middleware measures the requests of a server. A server calls middleware only for methods
// that it has, so callers cannot create new values of the label.
func (m *Metrics) Middleware() rpc.Middleware {
	return func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (result any, err error) {
			begin := time.Now()
			m.inFlight.Inc()
			outcome := outcomePanic // unless the handler returns
			defer func() {
				m.inFlight.Dec()
				m.duration.WithLabelValues(r.Method).Observe(time.Since(begin).Seconds())
				m.requests.WithLabelValues(r.Method, outcome).Inc()
			}()
			result, err = next(ctx, r)
			outcome = outcomeOf(ctx, err)
			return result, err
		}
	}
}

func outcomeOf(ctx context.Context, err error) string {
	switch {
	case err == nil:
		return outcomeSuccess
	case errors.As(err, new(*rpc.PanicError)):
		return outcomePanic
	case errors.Is(context.Cause(ctx), rpc.ErrAbandoned):
		return outcomeAbandoned
	default:
		return outcomeFailure
	}
}
