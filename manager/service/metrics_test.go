// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/providers"
)

// wantMetrics compares lines of what a registry shows.
func wantMetrics(t *testing.T, g prometheus.Gatherer, lines ...string) {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	page := slices.Collect(strings.Lines(w.Body.String()))
	for _, line := range lines {
		if !slices.Contains(page, line+"\n") {
			t.Errorf("no line %q in\n%s", line, w.Body)
		}
	}
}

// flakyJournal fails while it is away.
type flakyJournal struct {
	journal.Journal
	away bool
}

func (f *flakyJournal) List(ctx context.Context, filter journal.Filter) ([]journal.Entry, error) {
	if f.away {
		return nil, errors.New("the database is away")
	}
	return f.Journal.List(ctx, filter)
}

// end has an operation begin and end in a journal.
func end(t *testing.T, j journal.Journal, kind, provider string, created time.Time, o journal.Outcome) {
	t.Helper()
	e, _, err := j.Begin(t.Context(), journal.Entry{
		ID: uuid.NewString(), Kind: kind, ProviderID: provider, CreatedAt: created, Claim: journal.Claim{Owner: uuid.NewString()},
	})
	if err == nil {
		err = errors.Join(j.Start(t.Context(), e.ID, e.Claim), j.End(t.Context(), e.ID, e.Claim, o, "", nil))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Operations count as they end in the journal. The last successes of the time before,
// and of other workers, are read out of it, once it can be read.
func TestMetricsOfOperations(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0).UTC()
	memory := &flakyJournal{Journal: journaltest.NewMemory(func() time.Time { return now }), away: true}
	for range journalPage + 1 {
		end(t, memory, "protect", "p1", now.Add(-time.Minute), journal.Succeeded)
	}
	b := newBusiness()
	s := b.observe(Setup{Banks: &providers.BankRegistry{}})
	s.Wrap.Journal(memory)
	now = time.Unix(2000, 0).UTC()
	s.Observe(operation.Event{Entry: journal.Entry{Kind: "protect", State: journal.Running}})
	s.Observe(operation.Event{Entry: journal.Entry{Kind: "protect", ProviderID: "p2", State: journal.Ended, Outcome: journal.Succeeded,
		CreatedAt: now.Add(-20 * time.Second), EndedAt: now}})
	s.Observe(operation.Event{Entry: journal.Entry{Kind: "restore", ProviderID: "p1", State: journal.Ended, Outcome: journal.Failed,
		CreatedAt: now.Add(-time.Hour), EndedAt: now}})
	wantMetrics(t, b.registry,
		`karbor_operations_total{outcome="succeeded",type="protect"} 1`,
		`karbor_operations_total{outcome="failed",type="restore"} 1`,
		`karbor_operations_total{outcome="failed",type="protect"} 0`,
		`karbor_operation_duration_seconds_bucket{type="protect",le="15"} 0`,
		`karbor_operation_duration_seconds_bucket{type="protect",le="60"} 1`,
		`karbor_last_success_timestamp_seconds{provider="p2",type="protect"} 2000`,
	)
	memory.away = false
	wantMetrics(t, b.registry, `karbor_last_success_timestamp_seconds{provider="p1",type="protect"} 1000`,
		`karbor_last_success_timestamp_seconds{provider="p2",type="protect"} 2000`)
	memory.away = true
	wantMetrics(t, b.registry, `karbor_last_success_timestamp_seconds{provider="p1",type="protect"} 1000`)
}

// Requests to a bank count under the id in the provider's file.
func TestMetricsOfBanks(t *testing.T) {
	t.Parallel()
	faulty := banktest.NewFaulty(banktest.NewMemory())
	banks := &providers.BankRegistry{}
	banks.Register([]string{"b"}, nil, func(*config.Config, logrus.FieldLogger) (bank.Plugin, *bank.Lease, error) {
		return faulty, nil, nil
	})
	b := newBusiness()
	entry, err := b.observe(Setup{Banks: banks}).Banks.Lookup("b")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadFile(writeFile(t, "[provider]\nid = p1\n"), providers.ProviderOptions)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := entry.Build(cfg, quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("twelve bytes")
	if err := p.Put(t.Context(), "/k", bank.Upload{Open: bank.Bytes(text), Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	o, err := p.Get(t.Context(), "/k")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(o.Body); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%q, %v", got, err)
	}
	o.Body.Close()
	if _, err := p.Get(t.Context(), "/none"); !errors.Is(err, bank.ErrNotFound) {
		t.Error(err)
	}
	over := faulty.Begin(banktest.Outage{Err: errors.New("away")})
	if _, err := p.List(t.Context(), bank.ListOptions{}); err == nil {
		t.Error("a listing of a bank that is away")
	}
	over()
	if err := p.Delete(t.Context(), "/k"); err != nil {
		t.Error(err)
	}
	wantMetrics(t, b.registry,
		`karbor_bank_requests_total{code="ok",provider="p1"} 3`, `karbor_bank_requests_total{code="not_found",provider="p1"} 1`,
		`karbor_bank_requests_total{code="error",provider="p1"} 1`,
		`karbor_bank_bytes_total{direction="write",provider="p1"} 12`, `karbor_bank_bytes_total{direction="read",provider="p1"} 12`,
	)
}

// Names, types and helps of the metrics are as Prometheus wants them.
func TestMetricsFollowTheConventions(t *testing.T) {
	t.Parallel()
	b := newBusiness()
	b.successes.record(success{"protect", "p1"}, time.Unix(1, 0))
	b.measuredBank(banktest.NewMemory(), "p1")
	p, err := providers.New(providers.Definition{ID: "p1", Bank: bank.New(banktest.NewMemory(), nil)})
	if err != nil {
		t.Fatal(err)
	}
	probe := newBankProbe(providers.NewRegistry(p), time.Minute, quietLog(t))
	probe.probe(t.Context(), p)
	b.registry.MustRegister(probe)
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// A bank that does not answer is down from the next probe on until it answers again.
func TestBanksAreProbed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faulty := banktest.NewFaulty(banktest.NewMemory())
		p, err := providers.New(providers.Definition{ID: "p1", Name: "first", Bank: bank.New(faulty, nil)})
		if err != nil {
			t.Fatal(err)
		}
		probe := newBankProbe(providers.NewRegistry(p), time.Minute, quietLog(t))
		registry := prometheus.NewRegistry()
		registry.MustRegister(probe)
		want := func(up bool, reason, line string) {
			t.Helper()
			got := probe.status()[0]
			if got.Up != up || !strings.Contains(got.Reason, reason) || got.ID != "p1" || !got.Loaded {
				t.Errorf("%+v", got)
			}
			wantMetrics(t, registry, line, `karbor_provider_loaded{provider="p1"} 1`)
		}
		probe.start()
		synctest.Wait()
		want(true, "", `karbor_bank_up{provider="p1"} 1`)
		over := faulty.Begin(banktest.Outage{Hang: true, Err: errors.New("away")})
		time.Sleep(time.Minute + probeTime)
		synctest.Wait()
		want(false, "deadline", `karbor_bank_up{provider="p1"} 0`)
		over()
		time.Sleep(time.Minute)
		synctest.Wait()
		want(true, "", `karbor_bank_up{provider="p1"} 1`)
		probe.stop()
	})
}

// metricNames finds the names of metrics of ours, and of the process, in a text.
var metricNames = regexp.MustCompile(`\b(?:karbor|rpc|openstack|process|go)_[a-z_]+`)

// The dashboard and the alerts ask for metrics that there are.
func TestMetricsOfDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	args := provided(t, "metrics_listen = 127.0.0.1:0\n", goodProvider)
	cfg, err := loadConfig(args[1:])
	if err != nil {
		t.Fatal(err)
	}
	i, err := newInstance(t.Context(), cfg, Builtin(), quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer i.stop(t.Context())
	known := map[string]bool{}
	for _, registry := range []*prometheus.Registry{i.metrics.Registry(), newBusiness().registry} {
		described := make(chan *prometheus.Desc)
		go func() {
			defer close(described)
			registry.Describe(described)
		}()
		for d := range described {
			_, name, _ := strings.Cut(d.String(), `fqName: "`)
			name, _, _ = strings.Cut(name, `"`)
			known[name] = true
		}
	}
	for _, file := range []string{"grafana/karbor.json", "prometheus/karbor.rules.yml"} {
		text, err := os.ReadFile("../../etc/" + file)
		if err != nil {
			t.Fatal(err)
		}
		names := metricNames.FindAllString(string(text), -1)
		for _, name := range names {
			if base := strings.TrimSuffix(name, "_bucket"); !known[name] && !known[base] {
				t.Errorf("%s: no metric %s", file, name)
			}
		}
		if len(names) < 10 {
			t.Errorf("%s: %d metrics", file, len(names))
		}
	}
}
