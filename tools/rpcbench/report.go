// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// report is the outcome of a run. Durations are nanoseconds in JSON.
type report struct {
	Sent           uint64            `json:"sent"`
	Lost           uint64            `json:"lost"`
	Doubled        uint64            `json:"doubled"`
	Errors         map[string]uint64 `json:"errors"`
	Calls          uint64            `json:"calls"` // answered while measuring
	Seconds        float64           `json:"seconds"`
	CallsPerSecond float64           `json:"calls_per_second"`
	Mean           time.Duration     `json:"mean"`
	P50            time.Duration     `json:"p50"`
	P90            time.Duration     `json:"p90"`
	P99            time.Duration     `json:"p99"`
	P999           time.Duration     `json:"p99.9"`
	Max            time.Duration     `json:"max"`
	CPUPerCall     time.Duration     `json:"client_cpu_per_call"`
	RequestBytes   int               `json:"request_bytes"`

	last time.Duration // when the last reply came
}

// String is the report for people.
func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "calls    %d in %.3g s, %.0f calls/s\n", r.Calls, r.Seconds, r.CallsPerSecond)
	fmt.Fprintf(&b, "latency  p50 %s  p90 %s  p99 %s  p99.9 %s  max %s  mean %s\n",
		brief(r.P50), brief(r.P90), brief(r.P99), brief(r.P999), brief(r.Max), brief(r.Mean))
	fmt.Fprintf(&b, "client   %s of CPU for each call, requests of %d bytes\n", brief(r.CPUPerCall), r.RequestBytes)
	fmt.Fprintf(&b, "counted  %d sent, %d lost, %d doubled", r.Sent, r.Lost, r.Doubled)
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, ", %d %s", r.Errors[kind], kind)
	}
	return b.String() + "\n"
}

// brief keeps three digits or so.
func brief(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	default:
		return d.Round(100 * time.Nanosecond)
	}
}

// verdict is the error of a run in which a call was lost, answered twice or failed.
func (r *report) verdict() error {
	if r.Lost == 0 && r.Doubled == 0 && len(r.Errors) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d lost, %d doubled, errors %v", errCounts, r.Lost, r.Doubled, r.Errors)
}
