// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

const (
	// probeTime bounds one probe of a bank.
	probeTime = 10 * time.Second
	// askAgainTime bounds the check whether a bank that was down still is.
	askAgainTime = 5 * time.Second
	// pingTime bounds the check whether the database answers.
	pingTime = 2 * time.Second
)

// readiness is the content of /readyz.
type readiness struct {
	Ready     bool             `json:"ready"`
	Broker    condition        `json:"broker"`
	Database  condition        `json:"database"`
	Providers []providerStatus `json:"providers"`
}

// condition says whether a dependency is up, and if not, why.
type condition struct {
	Up     bool   `json:"up"`
	Reason string `json:"reason,omitempty"`
}

// providerStatus is the condition of a provider: whether its bank answers, or why its file could
// not be loaded.
type providerStatus struct {
	ID     string `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
	File   string `json:"file,omitempty"` // of a provider that could not be loaded
	Loaded bool   `json:"loaded"`
	condition
}

func conditionOf(err error) condition {
	if err != nil {
		return condition{Reason: fault.Detail(err)}
	}
	return condition{Up: true}
}

// brokerError returns why requests cannot arrive, or nil.
func brokerError(s rabbit.Stats) error {
	if s.Consuming {
		return nil
	}
	return cmp.Or(s.Consume.Err, errors.New("no requests are consumed"))
}

// bankProbe periodically checks that the bank of each provider answers.
type bankProbe struct {
	providers *providers.Registry
	interval  time.Duration
	log       logrus.FieldLogger

	mu      sync.Mutex
	results map[string]error // by provider; empty before the first probe

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newBankProbe(all *providers.Registry, interval time.Duration, log logrus.FieldLogger) *bankProbe {
	return &bankProbe{providers: all, interval: interval, log: log, results: map[string]error{}}
}

// start probes the banks, independently of each other, until stop. An interval of 0 disables
// probing.
func (b *bankProbe) start() {
	if b.interval <= 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	for _, p := range b.providers.All() {
		b.done.Go(func() {
			ticker := time.NewTicker(b.interval)
			defer ticker.Stop()
			for {
				_ = b.probe(ctx, p) // probe keeps the result
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

func (b *bankProbe) stop() {
	if b.cancel != nil {
		b.cancel()
		b.done.Wait()
	}
}

// last returns the error of the last probe of a bank.
func (b *bankProbe) last(p *providers.Provider) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.results[p.ID]
}

// reachable returns nil for a bank that answered the last probe, or answers now. It lets an
// operation on a bank that is known to be down fail early, with the reason.
func (b *bankProbe) reachable(ctx context.Context, p *providers.Provider) error {
	if b.last(p) == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askAgainTime)
	defer cancel()
	return b.probe(ctx, p)
}

// probe checks whether the bank answers, and keeps the result.
func (b *bankProbe) probe(ctx context.Context, p *providers.Provider) error {
	probing, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	err := p.Probe(probing)
	if errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	b.mu.Lock()
	before, known := b.results[p.ID]
	b.results[p.ID] = err
	b.mu.Unlock()
	log := b.log.WithField("provider", p.ID)
	switch {
	case err != nil && before == nil:
		log.Errorf("the bank of provider %s does not answer: %s", p.Name, fault.Detail(err))
	case err == nil && known && before != nil:
		log.Infof("the bank of provider %s answers again", p.Name)
	}
	return err
}

// status returns the condition of each loaded provider. A bank that has not been probed
// yet counts as up.
func (b *bankProbe) status() []providerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []providerStatus{}
	for _, p := range b.providers.All() {
		all = append(all, providerStatus{ID: p.ID, Name: p.Name, Loaded: true, condition: conditionOf(b.results[p.ID])})
	}
	return all
}

var (
	bankUp = prometheus.NewDesc("karbor_bank_up",
		"Whether the bank of a provider answered the last probe.", []string{"provider"}, nil)
	providerLoaded = prometheus.NewDesc("karbor_provider_loaded",
		"Whether a provider is loaded; one whose file could not be loaded has the file's name.", []string{"provider"}, nil)
)

var _ prometheus.Collector = (*bankProbe)(nil)

// Describe implements prometheus.Collector.
func (b *bankProbe) Describe(out chan<- *prometheus.Desc) {
	out <- bankUp
	out <- providerLoaded
}

// Collect implements prometheus.Collector.
func (b *bankProbe) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, provider string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, provider)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.providers.All() {
		gauge(providerLoaded, 1, p.ID)
		if err, probed := b.results[p.ID]; probed && err == nil {
			gauge(bankUp, 1, p.ID)
		} else if probed {
			gauge(bankUp, 0, p.ID)
		}
	}
	for _, left := range b.providers.LeftOut() {
		gauge(providerLoaded, 0, left.File)
	}
}
