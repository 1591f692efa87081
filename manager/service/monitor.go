// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karbor-project/karbor/manager/page"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
)

const (
	// headerTime bounds the time in which a client of the monitor sends a request, and answerTime
	// the time in which it reads the response.
	headerTime = 5 * time.Second
	answerTime = 30 * time.Second
	// maxConnections is the maximum number of concurrent clients of the monitor. The worker needs
	// its descriptors for other purposes.
	maxConnections = 64
)

// idleConns are the monitor's connections without a request. If there are too many, the one that
// has been idle for longest is closed.
type idleConns struct {
	limit int

	mu    sync.Mutex
	conns []net.Conn // longest idle first
}

// note is the ConnState hook of the http.Server.
func (c *idleConns) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = slices.DeleteFunc(c.conns, func(known net.Conn) bool { return known == conn })
	if state != http.StateNew && state != http.StateIdle {
		return
	}
	c.conns = append(c.conns, conn)
	if len(c.conns) > c.limit {
		_ = c.conns[0].Close()
		c.conns = c.conns[1:]
	}
}

// view is the data of an instance for the monitor.
type view struct {
	metrics   prometheus.Gatherer
	consuming func() bool
	ready     func(context.Context) readiness
	page      func(context.Context) page.State
}

// monitor answers HTTP requests about the serving instance: /metrics for Prometheus, /healthz for
// load balancers and probes, /readyz for operators, and / for browsers. No request changes
// anything, or shows users and protected resources to clients without the token.
type monitor struct {
	server   http.Server
	listener net.Listener
	idle     idleConns
	tally    *tally
	counts   *business
	metrics  http.Handler
	current  atomic.Pointer[view]
	ended    chan struct{}
}

// newMonitor listens on the address of option metrics_listen. Without the option it returns nil,
// whose methods do nothing. The metrics of the process are shown together with those of the
// instance.
func newMonitor(cfg *config.Config, counts *business, log logrus.FieldLogger) (*monitor, error) {
	address := cfg.String("DEFAULT", "metrics_listen")
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("option metrics_listen: %w", err)
	}
	m := &monitor{listener: l, idle: idleConns{limit: maxConnections}, tally: &tally{process: counts.registry}, counts: counts, ended: make(chan struct{})}
	m.metrics = promhttp.HandlerFor(m.tally, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", m.serveMetrics)
	mux.HandleFunc("GET /healthz", m.health)
	mux.HandleFunc("GET /readyz", m.ready)
	if who := cfg.String("DEFAULT", "status_page"); who != pageOff {
		mux.Handle("GET /{$}", page.New(page.Access{Anywhere: who == pageEverywhere, Token: cfg.String("DEFAULT", "status_page_token")}, m.pageState))
	}
	m.server = http.Server{
		Handler: mux, ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: answerTime, IdleTimeout: answerTime,
		MaxHeaderBytes: 16 << 10, ConnState: m.idle.note, ErrorLog: stdlog.New(io.Discard, "", 0),
	}
	go func() {
		defer close(m.ended)
		if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Errorf("metrics are served no longer: %v", err)
		}
	}()
	log.Infof("metrics are served on %s", l.Addr())
	return m, nil
}

// show makes the monitor answer from v.
func (m *monitor) show(v view) {
	if m != nil && v.metrics != nil {
		m.tally.serve(v.metrics)
		m.current.Store(&v)
	}
}

// retired keeps the counts of an instance that has ended.
func (m *monitor) retired(v view) {
	if m != nil && v.metrics != nil {
		m.tally.end(v.metrics)
	}
}

func (m *monitor) close() {
	if m != nil {
		_ = m.server.Close()
		<-m.ended
	}
}

func (m *monitor) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if m.current.Load() == nil {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	m.metrics.ServeHTTP(w, r)
}

// pageState returns the content of the page. It returns false before the start.
func (m *monitor) pageState(ctx context.Context) (page.State, bool) {
	v := m.current.Load()
	if v == nil {
		return page.State{}, false
	}
	s := v.page(ctx)
	for i := range s.Providers {
		s.Providers[i].Successes = m.counts.successes.of(s.Providers[i].ID)
	}
	return s, true
}

// ready reports, as JSON, the state of everything that the instance depends on, with 503 unless all
// of it is up.
func (m *monitor) ready(w http.ResponseWriter, r *http.Request) {
	v := m.current.Load()
	if v == nil {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	answer := v.ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(answer)
}

// health answers 200 while requests can arrive: not before the start, during an outage of the
// broker, or after the signal to stop.
func (m *monitor) health(w http.ResponseWriter, _ *http.Request) {
	v := m.current.Load()
	if v == nil || !v.consuming() {
		http.Error(w, "not consuming", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
