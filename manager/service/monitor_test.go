// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

// ask gets a page of the monitor.
func ask(t *testing.T, m *monitor, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + m.listener.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// listenOn is a configuration with an address of the monitor.
func listenOn(t *testing.T, address string) *config.Config {
	t.Helper()
	cfg, err := loadConfig([]string{"--config-file", writeFile(t, "[DEFAULT]\nmetrics_listen = "+address+"\n")})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func quietLog(t *testing.T) *telemetry.Log {
	t.Helper()
	log, err := telemetry.NewLog(telemetry.LogConfig{File: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func TestMonitorIsOffWithoutAnAddress(t *testing.T) {
	t.Parallel()
	m, err := newMonitor(listenOn(t, ""), newBusiness(), quietLog(t))
	if m != nil || err != nil {
		t.Fatalf("%v, %v", m, err)
	}
	m.show(view{})
	m.close()
	if _, err := newMonitor(listenOn(t, "127.0.0.1:none"), newBusiness(), quietLog(t)); err == nil || !strings.Contains(err.Error(), "metrics_listen") {
		t.Errorf("a wrong address: %v", err)
	}
}

// TestMonitorAmongSilentConnections opens far more connections than the monitor
// takes, none of which asks for anything. It answers all the same, and keeps no
// more than its limit.
func TestMonitorAmongSilentConnections(t *testing.T) {
	t.Parallel()
	m, err := newMonitor(listenOn(t, "127.0.0.1:0"), newBusiness(), quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	m.show(view{metrics: prometheus.NewRegistry(), consuming: func() bool { return true }})
	for range 2 * maxConnections {
		c, err := net.Dial("tcp", m.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	if code, _ := ask(t, m, "/healthz"); code != http.StatusOK {
		t.Errorf("answered %d", code)
	}
	m.idle.mu.Lock()
	defer m.idle.mu.Unlock()
	if n := len(m.idle.conns); n > maxConnections {
		t.Errorf("%d silent connections are kept", n)
	}
}

func TestMonitorShowsTheInstanceThatServes(t *testing.T) {
	t.Parallel()
	m, err := newMonitor(listenOn(t, "127.0.0.1:0"), newBusiness(), quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		if code, _ := ask(t, m, path); code != http.StatusServiceUnavailable {
			t.Errorf("%s before the start: %d", path, code)
		}
	}
	if code, _ := ask(t, m, "/"); code != http.StatusServiceUnavailable {
		t.Errorf("the page before the start: %d", code)
	}
	if code, _ := ask(t, m, "/other"); code != http.StatusNotFound {
		t.Errorf("another page: %d", code)
	}
	up := false
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "first_total"}, func() float64 { return 1 }))
	m.show(view{
		metrics:   registry,
		consuming: func() bool { return up },
		ready: func(context.Context) readiness {
			return readiness{Ready: up, Broker: condition{Up: up, Reason: "away"}}
		},
	})
	if code, text := ask(t, m, "/metrics"); code != http.StatusOK || !strings.Contains(text, "first_total 1\n") {
		t.Errorf("%d %s", code, text)
	}
	if code, text := ask(t, m, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, `"reason": "away"`) {
		t.Errorf("ready without a broker: %d %s", code, text)
	}
	if code, _ := ask(t, m, "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("healthy while nothing can arrive: %d", code)
	}
	up = true
	if code, text := ask(t, m, "/healthz"); code != http.StatusOK || text != "ok\n" {
		t.Errorf("%d %s", code, text)
	}
}

// An instance is healthy from its start to its stop.
func TestHealthOfAnInstance(t *testing.T) {
	t.Parallel()
	url := os.Getenv("RABBIT_URL")
	if url == "" {
		t.Skip("RABBIT_URL is not set: this test needs RabbitMQ")
	}
	dir := t.TempDir()
	file := writeFile(t, "[DEFAULT]\nmetrics_listen = 127.0.0.1:0\nhost = m\ntransport_url = "+url+
		"\nprotection_topic = "+strings.ReplaceAll(t.Name(), "/", "-")+"\nprovider_config_dir = "+dir+"\nstate_path = "+dir+
		"\ncontrol_exchange = x"+t.Name()+"\n[oslo_messaging_rabbit]\namqp_auto_delete = true\n")
	cfg, err := loadConfig([]string{"--config-file", file})
	if err != nil {
		t.Fatal(err)
	}
	checkHealth(t, cfg)
}

func checkHealth(t *testing.T, cfg *config.Config) {
	t.Helper()
	ctx := context.Background()
	m, err := newMonitor(cfg, newBusiness(), quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	i, err := newInstance(ctx, cfg, Builtin(), quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	m.show(i.view())
	if code, _ := ask(t, m, "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("before the start: %d", code)
	}
	if err := i.start(ctx); err != nil {
		t.Fatal(err)
	}
	if code, text := ask(t, m, "/healthz"); code != http.StatusOK {
		t.Errorf("while it serves: %d %s", code, text)
	}
	if code, text := ask(t, m, "/readyz"); code != http.StatusOK || !strings.Contains(text, `"ready": true`) {
		t.Errorf("ready while it serves: %d %s", code, text)
	}
	if code, text := ask(t, m, "/"); code != http.StatusOK || !strings.Contains(text, "Karbor protection on m") || !strings.Contains(text, "<h3>broker</h3><b>up</b>") {
		t.Errorf("the page while it serves: %d %s", code, text)
	}
	_, text := ask(t, m, "/metrics")
	for _, line := range []string{"rpc_consuming 1\n", `rpc_connected{link="consume"} 1`, `openstack_calls_in_flight{service="cinder"} 0`} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s in the metrics: %s", line, text)
		}
	}
	i.stop(ctx)
	if code, _ := ask(t, m, "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("after the stop: %d", code)
	}
}
