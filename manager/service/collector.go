// SPDX-License-Identifier: Apache-2.0

package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/karbor-project/karbor/manager/janitor"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers"
)

// collector provides metrics of operations, their journal and the checkpoints. It reads them on
// each collection.
type collector struct {
	providers *providers.Registry
	engine    *operation.Engine
	journal   *journal.SQL
	janitor   *janitor.Janitor
}

var _ prometheus.Collector = collector{}

var (
	operationsNow = prometheus.NewDesc("karbor_operations",
		"Operations of this worker that run, and that wait for their turn.", []string{"state"}, nil)
	journalCommits = prometheus.NewDesc("karbor_journal_commits_total",
		"Transactions in which marks of operations were written.", nil, nil)
	journalMarks = prometheus.NewDesc("karbor_journal_marks_total",
		"Marks of operations that were written.", nil, nil)
	journalFailed = prometheus.NewDesc("karbor_journal_failed_writes_total",
		"Writes of marks that failed and are repeated.", nil, nil)
	journalWaiting = prometheus.NewDesc("karbor_journal_waiting_writes",
		"Writes of marks that wait for the database.", nil, nil)
	bankOrphans = prometheus.NewDesc("karbor_bank_orphans",
		"Index entries and data without an index.json that the janitor's last look has found and kept.", nil, nil)
	checkpoints = prometheus.NewDesc("karbor_checkpoints",
		"Checkpoints in the bank, as the janitor's last look has found them.", []string{"provider", "status"}, nil)
	refusedCheckpoints = prometheus.NewDesc("karbor_refused_checkpoints_total",
		"Times that a checkpoint was read whose signature does not hold.", []string{"provider"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{operationsNow, journalCommits, journalMarks, journalFailed, journalWaiting, bankOrphans, checkpoints, refusedCheckpoints} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
	}
	running, waiting := c.engine.Running()
	gauge(operationsNow, float64(running), "running")
	gauge(operationsNow, float64(waiting), "waiting")
	stats := c.journal.Stats()
	counter(journalCommits, float64(stats.Commits))
	counter(journalMarks, float64(stats.Marks))
	counter(journalFailed, float64(stats.Failed))
	gauge(journalWaiting, float64(stats.Waiting))
	gauge(bankOrphans, float64(c.janitor.Orphans()))
	for _, p := range c.providers.All() {
		counter(refusedCheckpoints, float64(p.Checkpoints.Refused()), p.ID)
		for status, n := range p.Checkpoints.Counts() {
			if status.Known() { // a bank may contain any text
				gauge(checkpoints, float64(n), p.ID, string(status))
			}
		}
	}
}
