// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/page"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// operationTypes are the values of the label type. Each has its series from the start, so that even
// a first failure is an increase.
var operationTypes = []protection.Kind{protection.Protect, protection.Restore, protection.Verify, protection.Delete, protection.Copy}

// operationBuckets are the upper bounds of the histogram in seconds, from one second to two days.
var operationBuckets = []float64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 48 * 3600}

// business has the metrics of operations and banks. They belong to the process, so that a reload
// does not reset them. Labels hold operation types, providers and outcomes, never projects or
// resources.
type business struct {
	registry   *prometheus.Registry
	operations *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	successes  *lastSuccesses
	requests   *prometheus.CounterVec
	bytes      *prometheus.CounterVec
}

func newBusiness() *business {
	b := &business{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "karbor_operations_total", Help: "Operations that this worker has ended, by type and outcome.",
		}, []string{"type", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "karbor_operation_duration_seconds", Help: "Time from the acceptance of an operation to its end.", Buckets: operationBuckets,
		}, []string{"type"}),
		successes: &lastSuccesses{at: map[success]time.Time{}},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "karbor_bank_requests_total", Help: "Requests to the bank of a provider, by how they ended.",
		}, []string{"provider", "code"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "karbor_bank_bytes_total", Help: "Bytes of objects written to and read from the bank of a provider.",
		}, []string{"provider", "direction"}),
	}
	for _, kind := range operationTypes {
		for _, outcome := range []journal.Outcome{journal.Succeeded, journal.Failed, journal.Cancelled} {
			b.operations.WithLabelValues(string(kind), string(outcome))
		}
		b.duration.WithLabelValues(string(kind))
	}
	b.registry.MustRegister(b.operations, b.duration, b.successes, b.requests, b.bytes)
	return b
}

// observe returns the setup with banks that are measured and operations that are counted.
func (b *business) observe(s Setup) Setup {
	s.Observe = b.ended
	wrap := s.Wrap.Journal
	s.Wrap.Journal = func(j journal.Journal) journal.Journal {
		b.successes.readFrom(j)
		return wrapped(wrap, j)
	}
	banks := &providers.BankRegistry{}
	for _, entry := range s.Banks.Entries() {
		banks.Register(entry.Names, entry.Options, func(cfg *config.Config, log logrus.FieldLogger) (bank.Plugin, *bank.Lease, error) {
			plugin, lease, err := entry.Build(cfg, log)
			if err != nil {
				return nil, nil, err
			}
			return b.measuredBank(plugin, cfg.String("provider", "id")), lease, nil
		})
	}
	s.Banks = banks
	return s
}

// ended counts an operation that has ended.
func (b *business) ended(e operation.Event) {
	if e.State != journal.Ended {
		return
	}
	b.operations.WithLabelValues(e.Kind, string(e.Outcome)).Inc()
	b.duration.WithLabelValues(e.Kind).Observe(e.EndedAt.Sub(e.CreatedAt).Seconds())
	if e.Outcome == journal.Succeeded {
		b.successes.record(success{e.Kind, e.ProviderID}, e.EndedAt)
	}
}

// success identifies a series of lastSuccesses.
type success struct{ kind, provider string }

// lastSuccesses has the time of the last success by type of operation and provider. Successes from
// before the start of the process, or of other workers until then, are read from the journal on the
// first collection.
type lastSuccesses struct {
	mu      sync.Mutex
	at      map[success]time.Time
	journal journal.Journal // nil once it has been read
	marker  string          // the last entry that has been read
}

const (
	// journalTime bounds reading the journal for the metrics.
	journalTime = 5 * time.Second
	// journalPage is the number of entries that are read at a time.
	journalPage = 500
)

var lastSuccess = prometheus.NewDesc("karbor_last_success_timestamp_seconds",
	"When the last operation of a type and provider succeeded, in seconds since 1970.", []string{"type", "provider"}, nil)

// Describe implements prometheus.Collector.
func (l *lastSuccesses) Describe(out chan<- *prometheus.Desc) { out <- lastSuccess }

// Collect implements prometheus.Collector.
func (l *lastSuccesses) Collect(out chan<- prometheus.Metric) {
	l.read()
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, at := range l.at {
		out <- prometheus.MustNewConstMetric(lastSuccess, prometheus.GaugeValue, float64(at.UnixMilli())/1000, s.kind, s.provider)
	}
}

func (l *lastSuccesses) record(s success, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.After(l.at[s]) {
		l.at[s] = at
	}
}

// of returns the last successes of a provider, in the order of operationTypes.
func (l *lastSuccesses) of(provider string) (list []page.Success) {
	l.read()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, kind := range operationTypes {
		if at, ok := l.at[success{string(kind), provider}]; ok {
			list = append(list, page.Success{Type: string(kind), At: at})
		}
	}
	return list
}

// readFrom makes the next collection read the journal.
func (l *lastSuccesses) readFrom(j journal.Journal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal, l.marker = j, ""
}

// read reads the successes from the journal. If the database is unavailable or slow, the next
// collection continues.
func (l *lastSuccesses) read() {
	ctx, cancel := context.WithTimeout(context.Background(), journalTime)
	defer cancel()
	for l.readPage(ctx) {
	}
}

// readPage reads one page and reports whether another should be read now.
func (l *lastSuccesses) readPage(ctx context.Context) bool {
	l.mu.Lock()
	j, marker := l.journal, l.marker
	l.mu.Unlock()
	if j == nil {
		return false
	}
	page, err := j.List(ctx, journal.Filter{Limit: journalPage, Marker: marker})
	for _, e := range page {
		if e.Outcome == journal.Succeeded {
			l.record(success{e.Kind, e.ProviderID}, e.EndedAt)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.journal != j: // a reload has begun to read another journal
	case errors.Is(err, journal.ErrNotFound): // the entry of the marker was pruned
		l.marker = ""
	case err != nil:
		return false
	case len(page) < journalPage:
		l.journal = nil
		return false
	default:
		l.marker = page[len(page)-1].ID
	}
	return true
}

// measuredBank counts the requests to a bank, and the bytes of objects.
type measuredBank struct {
	bank.Plugin
	requests      *prometheus.CounterVec
	read, written prometheus.Counter
}

func (b *business) measuredBank(p bank.Plugin, provider string) bank.Plugin {
	label := prometheus.Labels{"provider": provider}
	requests := b.requests.MustCurryWith(label)
	for _, code := range []string{codeOK, codeError} {
		requests.WithLabelValues(code)
	}
	return &measuredBank{
		Plugin: p, requests: requests,
		read: b.bytes.WithLabelValues(provider, "read"), written: b.bytes.WithLabelValues(provider, "write"),
	}
}

// The values of the label code of requests to a bank.
const (
	codeOK        = "ok"
	codeNotFound  = "not_found"
	codeExists    = "exists"
	codeUnusable  = "unusable"  // one object cannot be read or removed
	codeCancelled = "cancelled" // cancelled by the operation
	codeError     = "error"
)

func (m *measuredBank) count(ctx context.Context, err error) error {
	code := codeError
	switch {
	case err == nil:
		code = codeOK
	case errors.Is(err, bank.ErrNotFound):
		code = codeNotFound
	case errors.Is(err, bank.ErrExists):
		code = codeExists
	case errors.Is(err, bank.ErrUnusable):
		code = codeUnusable
	case ctx.Err() != nil:
		code = codeCancelled
	}
	m.requests.WithLabelValues(code).Inc()
	return err
}

// Writable implements bank.Local, if the plugin does.
func (m *measuredBank) Writable() error {
	if p, local := m.Plugin.(bank.Local); local {
		return p.Writable()
	}
	return nil
}

// Remember implements bank.Local, if the plugin does.
func (m *measuredBank) Remember(file string) {
	if p, local := m.Plugin.(bank.Local); local {
		p.Remember(file)
	}
}

// Put implements bank.Plugin.
func (m *measuredBank) Put(ctx context.Context, key string, u bank.Upload) error {
	err := m.count(ctx, m.Plugin.Put(ctx, key, u))
	if err == nil {
		m.written.Add(float64(u.Size))
	}
	return err
}

// Get implements bank.Plugin.
func (m *measuredBank) Get(ctx context.Context, key string) (*bank.Object, error) {
	o, err := m.Plugin.Get(ctx, key)
	if m.count(ctx, err) != nil {
		return nil, err
	}
	o.Body = measuredBody{o.Body, m.read}
	return o, nil
}

// List implements bank.Plugin.
func (m *measuredBank) List(ctx context.Context, o bank.ListOptions) ([]string, error) {
	keys, err := m.Plugin.List(ctx, o)
	return keys, m.count(ctx, err)
}

// Delete implements bank.Plugin.
func (m *measuredBank) Delete(ctx context.Context, key string) error {
	return m.count(ctx, m.Plugin.Delete(ctx, key))
}

// measuredBody counts the bytes that are read from an object.
type measuredBody struct {
	io.ReadCloser
	read prometheus.Counter
}

// Read implements io.Reader.
func (b measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(float64(n))
	return n, err
}
