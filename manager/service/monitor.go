// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// headerTime bounds how long a client of the monitor may take to ask.
const headerTime = 5 * time.Second

// view is what the monitor shows of an instance.
type view struct {
	metrics   http.Handler
	consuming func() bool
}

// monitor answers HTTP requests about the instance that serves now: /metrics for
// Prometheus and /healthz for load balancers and probes. It knows no operation
// that changes anything, and tells nothing of users or what they have protected.
type monitor struct {
	server   http.Server
	listener net.Listener
	current  atomic.Pointer[view]
	ended    chan struct{}
}

// newMonitor listens on the address of option metrics_listen. Without one there
// is no monitor, and nil is returned, whose methods do nothing.
func newMonitor(address string, log logrus.FieldLogger) (*monitor, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("option metrics_listen: %w", err)
	}
	m := &monitor{listener: l, ended: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", m.metrics)
	mux.HandleFunc("GET /healthz", m.health)
	m.server = http.Server{Handler: mux, ReadHeaderTimeout: headerTime}
	go func() {
		defer close(m.ended)
		if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Errorf("metrics are served no longer: %v", err)
		}
	}()
	log.Infof("metrics are served on %s", l.Addr())
	return m, nil
}

// show makes v what is answered from now on.
func (m *monitor) show(v view) {
	if m != nil && v.metrics != nil {
		m.current.Store(&v)
	}
}

func (m *monitor) close() {
	if m != nil {
		_ = m.server.Close()
		<-m.ended
	}
}

func (m *monitor) metrics(w http.ResponseWriter, r *http.Request) {
	if v := m.current.Load(); v != nil {
		v.metrics.ServeHTTP(w, r)
		return
	}
	http.Error(w, "starting", http.StatusServiceUnavailable)
}

// health is 200 while requests can arrive: not before the start, during an outage
// of the broker, and after the signal to stop.
func (m *monitor) health(w http.ResponseWriter, _ *http.Request) {
	v := m.current.Load()
	if v == nil || !v.consuming() {
		http.Error(w, "not consuming", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
