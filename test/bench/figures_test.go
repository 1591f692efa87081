// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i))
	}
	for share, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 1: 100, 0.001: 1} {
		if got := quantile(times, share); got != want {
			t.Errorf("%g of 1 to 100 is %d, want %d", share, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("nothing has a median")
	}
}

// What /proc says of this process must make sense.
func TestProcess(t *testing.T) {
	t.Parallel()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	now, err := memoryOf(string(status), "VmRSS")
	if err != nil || now <= 0 {
		t.Errorf("%g MiB, %v", now, err)
	}
	if _, err := memoryOf(string(status), "VmNone"); err == nil {
		t.Error("a figure that is not there was read")
	}
	p, err := start("sh", "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; read line")
	if err != nil {
		t.Fatal(err)
	}
	if used, err := p.cpu(); err != nil || used < 0 {
		t.Errorf("%s, %v", used, err)
	}
	if err := p.stop(); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("read finds no line, and yet: %v", err)
	}
	if err := p.stop(); err == nil || !strings.Contains(err.Error(), "before its time") {
		t.Errorf("a process that is gone stops with %v", err)
	}
}

func TestALostCallEndsTheLoad(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	var calls atomic.Int32
	_, err := repeat(t.Context(), 1000, 4, func(context.Context) error {
		if calls.Add(1) == 10 {
			return lost
		}
		return nil
	})
	if !errors.Is(err, lost) {
		t.Errorf("error %v", err)
	}
	took, err := repeat(t.Context(), 3, 16, func(context.Context) error { return nil })
	if err != nil || len(took) != 3 {
		t.Errorf("%v, %v", took, err)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var table table
	table.heading("Heading")
	table.add(row{name: "memory", unit: "MiB", ours: 20, peer: 80, quoted: [2]float64{130, 175}})
	table.add(row{name: "calls", unit: "1/s", more: true, ours: 3000, peer: 600, raw: 4500})
	table.add(row{name: "alone", unit: "ms", ours: 0.1234})
	var b strings.Builder
	if err := table.write(&b); err != nil {
		t.Fatal(err)
	}
	want := `            unit   ours  Python peer  times better  raw AMQP  raw is better  original*  times better*

Heading
  memory    MiB    20.0         80.0          4.0x                             130-175      6.5x-8.8x
  calls     1/s    3000          600          5.0x      4500           1.5x
  alone     ms    0.123
`
	// The first heading line starts with the empty name of the first column.
	if got := b.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
