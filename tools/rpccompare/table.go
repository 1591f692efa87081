// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

// row is a line of the table.
type row struct {
	name  string
	more  bool // a larger figure is the better one
	value func(*server) float64
}

var rows = []row{
	{"calls/s at saturation", true, func(s *server) float64 { return s.saturated.CallsPerSecond }},
	{"server CPU per call, us", false, func(s *server) float64 { return micro(s.saturated.server) }},
	{"calls per CPU second of the server", true, func(s *server) float64 { return 1e6 / max(micro(s.saturated.server), 0.001) }},
	{"broker CPU per call, us", false, func(s *server) float64 { return micro(s.saturated.broker) }},
	{"client CPU per call, us", false, func(s *server) float64 { return micro(s.saturated.client) }},
	{"500 calls/s: p50, ms", false, func(s *server) float64 { return milli(s.at500.P50) }},
	{"500 calls/s: p99, ms", false, func(s *server) float64 { return milli(s.at500.P99) }},
	{"500 calls/s: p99.9, ms", false, func(s *server) float64 { return milli(s.at500.P999) }},
	{"1000 calls/s: p50, ms", false, func(s *server) float64 { return milli(s.at1000.P50) }},
	{"1000 calls/s: p99, ms", false, func(s *server) float64 { return milli(s.at1000.P99) }},
	{"1000 calls/s: p99.9, ms", false, func(s *server) float64 { return milli(s.at1000.P999) }},
	{"1000 calls/s: server CPU per call, us", false, func(s *server) float64 { return micro(s.at1000.server) }},
	{"most memory of the server, MiB", false, func(s *server) float64 { return s.rss }},
}

func micro(d time.Duration) float64 { return float64(d) / 1e3 }
func milli(d time.Duration) float64 { return float64(d) / 1e6 }

// show prints the servers side by side: the first is the ceiling, the second is
// ours, and how ours compares with each follows.
func show(servers []*server) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	_, _ = fmt.Fprint(w, "\n")
	for _, s := range servers {
		_, _ = fmt.Fprintf(w, "%s\t", s.name)
	}
	_, _ = fmt.Fprintf(w, "of raw\t")
	if len(servers) > 2 {
		_, _ = fmt.Fprintf(w, "times better than Python\t")
	}
	_, _ = fmt.Fprint(w, "  \n")
	for _, r := range rows {
		for _, s := range servers {
			_, _ = fmt.Fprintf(w, "%.4g\t", r.value(s))
		}
		ours := r.value(servers[1])
		_, _ = fmt.Fprintf(w, "%.2f\t", ours/max(r.value(servers[0]), 1e-9))
		if len(servers) > 2 {
			theirs := r.value(servers[2])
			if !r.more {
				ours, theirs = theirs, ours
			}
			_, _ = fmt.Fprintf(w, "%.1f\t", ours/max(theirs, 1e-9))
		}
		_, _ = fmt.Fprintf(w, "  %s\n", r.name)
	}
}
