// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// tally gathers the metrics of the process and of the serving instance. It adds the counts of
// former instances, so that a reload does not reset counters.
type tally struct {
	process prometheus.Gatherer // nil for none

	mu      sync.Mutex
	current prometheus.Gatherer
	ending  []prometheus.Gatherer // instances that are still finishing
	ended   []*dto.MetricFamily   // total counts of all instances that have ended
}

var _ prometheus.Gatherer = (*tally)(nil)

// Gather implements prometheus.Gatherer.
func (t *tally) Gather() ([]*dto.MetricFamily, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sources prometheus.Gatherers
	for _, g := range []prometheus.Gatherer{t.process, t.current} {
		if g != nil {
			sources = append(sources, g)
		}
	}
	all, err := sources.Gather()
	for _, g := range t.ending {
		counts, e := g.Gather()
		all, err = addCounts(all, counts), errors.Join(err, e)
	}
	return addCounts(all, t.ended), err
}

// serve sets the metrics of the serving instance.
func (t *tally) serve(g prometheus.Gatherer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil && t.current != g {
		t.ending = append(t.ending, t.current)
	}
	t.current = g
}

// end adds the final counts of an instance that has served.
func (t *tally) end(g prometheus.Gatherer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.ending, g)
	if i < 0 {
		return
	}
	// Errors are ignored here, since each collection has reported them.
	counts, _ := g.Gather()
	t.ended = addCounts(t.ended, counts)
	t.ending = slices.Delete(t.ending, i, i+1)
}

// addCounts returns all with the counters and histograms of more added. It does not modify more.
// Metrics of the runtime are the same for every instance and are not added.
func addCounts(all, more []*dto.MetricFamily) []*dto.MetricFamily {
	for _, f := range more {
		if t := f.GetType(); t != dto.MetricType_COUNTER && t != dto.MetricType_HISTOGRAM ||
			strings.HasPrefix(f.GetName(), "go_") || strings.HasPrefix(f.GetName(), "process_") {
			continue
		}
		i := slices.IndexFunc(all, func(known *dto.MetricFamily) bool { return known.GetName() == f.GetName() })
		if i < 0 {
			all = append(all, &dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type, Unit: f.Unit, Metric: slices.Clone(f.Metric)})
			continue
		}
		for _, m := range f.Metric {
			addCount(all[i], m)
		}
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}

// addCount adds a series to the series with the same labels in f. The series are ordered by labels,
// as a Gatherer returns them.
func addCount(f *dto.MetricFamily, m *dto.Metric) {
	i, found := slices.BinarySearchFunc(f.Metric, m, func(a, b *dto.Metric) int {
		return slices.CompareFunc(a.Label, b.Label, func(a, b *dto.LabelPair) int {
			return cmp.Or(strings.Compare(a.GetName(), b.GetName()), strings.Compare(a.GetValue(), b.GetValue()))
		})
	})
	if !found {
		f.Metric = slices.Insert(f.Metric, i, m)
		return
	}
	known := f.Metric[i]
	sum := &dto.Metric{Label: known.Label}
	if c := known.Counter; c != nil {
		value := c.GetValue() + m.Counter.GetValue()
		sum.Counter = &dto.Counter{Value: &value}
	}
	if h := known.Histogram; h != nil {
		count, total := h.GetSampleCount()+m.Histogram.GetSampleCount(), h.GetSampleSum()+m.Histogram.GetSampleSum()
		sum.Histogram = &dto.Histogram{SampleCount: &count, SampleSum: &total}
		for n, bucket := range h.Bucket {
			below := bucket.GetCumulativeCount() + m.Histogram.Bucket[n].GetCumulativeCount()
			sum.Histogram.Bucket = append(sum.Histogram.Bucket, &dto.Bucket{UpperBound: bucket.UpperBound, CumulativeCount: &below})
		}
	}
	f.Metric[i] = sum
}
