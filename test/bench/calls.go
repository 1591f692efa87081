// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// What the original takes for the same, on two cores.
var (
	quotedMemory = [2]float64{130, 175} // MiB
	quotedCall   = [2]float64{1.2, 1.9} // CPU seconds for 1,000 calls
)

// starting measures the way from the execution of a server to its first answer.
// At the end of it all servers run.
func (b *bench) starting(ctx context.Context) error {
	progress("starting each server %d times", b.size.starts)
	all := b.servers()
	whole, cpu := make([][]time.Duration, 2), make([][]time.Duration, 2)
	for n := range b.size.starts + 1 {
		for i, server := range all {
			if err := server.stop(); err != nil {
				return err
			}
			w, c, err := b.serve(ctx, server)
			if err != nil {
				return err
			}
			if n > 0 { // the first one finds cold caches and no queue
				whole[i], cpu[i] = append(whole[i], w), append(cpu[i], c)
			}
		}
	}
	if err := b.startRaw(ctx); err != nil {
		return err
	}
	b.table.heading(fmt.Sprintf("Start: from exec to the first answer, median of %d", b.size.starts))
	b.table.add(row{name: "time", unit: "ms", ours: milliseconds(median(whole[0])), peer: milliseconds(median(whole[1]))})
	b.table.add(row{name: "CPU time", unit: "ms", ours: milliseconds(median(cpu[0])), peer: milliseconds(median(cpu[1]))})
	time.Sleep(time.Second) // what a start leaves to do is over
	b.table.heading("Memory")
	return b.memory("resident after the start", "VmRSS", quotedMemory)
}

func (b *bench) startRaw(ctx context.Context) error {
	var err error
	if b.echo, err = newEchoClient(b.site.broker, b.site.topic("raw"), requestSize); err != nil {
		return err
	}
	b.raw.call = b.echo.call
	_, _, err = b.serve(ctx, b.raw)
	return err
}

// requestSize is about that of a request of list_providers.
const requestSize = 1100

func (b *bench) memory(name, field string, quoted [2]float64) error {
	r := row{name: name, unit: "MiB", quoted: quoted}
	for _, f := range []struct {
		server *peer
		figure *float64
	}{{b.ours, &r.ours}, {b.python, &r.peer}, {b.raw, &r.raw}} {
		if f.server == nil {
			continue
		}
		var err error
		if *f.figure, err = f.server.process.memory(field); err != nil {
			return err
		}
	}
	b.table.add(r)
	return nil
}

// calling measures list_providers. The servers take turns, so that each kind of
// load finds them in the same weather.
func (b *bench) calling(ctx context.Context) error {
	var rows []row
	for _, l := range []struct{ workers, calls int }{{16, b.size.calls}, {1, b.size.calls / 10}, {64, b.size.calls / 2}} {
		progress("calling, %d at a time", l.workers)
		var took [3]load
		for i, server := range []*peer{b.ours, b.python, b.raw} {
			if server == nil {
				continue
			}
			if _, err := repeat(ctx, 100, l.workers, server.call); err != nil {
				return fmt.Errorf("warm up: %w", err)
			}
			var err error
			if took[i], err = measure(ctx, server.process, l.calls, l.workers, server.call); err != nil {
				return err
			}
		}
		if l.workers == 16 {
			if err := b.memory(fmt.Sprintf("resident after %d calls", l.calls), "VmRSS", quotedMemory); err != nil {
				return err
			}
			if err := b.memory("the most so far", "VmHWM", quotedMemory); err != nil {
				return err
			}
		}
		rows = append(rows, callRows(l.workers, l.calls, took)...)
	}
	b.table.heading(fmt.Sprintf("list_providers, an answer of %d bytes", len(b.answer)))
	for _, r := range rows {
		b.table.add(r)
	}
	return nil
}

func callRows(workers, calls int, l [3]load) []row {
	line := func(name, unit string, more bool, quoted [2]float64, of func(load) float64) row {
		return row{name: fmt.Sprintf("%d at a time: %s", workers, name), unit: unit, more: more, quoted: quoted,
			ours: of(l[0]), peer: of(l[1]), raw: of(l[2])}
	}
	return []row{
		line("calls", "1/s", true, [2]float64{}, func(l load) float64 { return l.rate }),
		line("latency, median", "ms", false, [2]float64{}, func(l load) float64 { return milliseconds(l.p50) }),
		line("latency, 99 of 100", "ms", false, [2]float64{}, func(l load) float64 { return milliseconds(l.p99) }),
		line("CPU of the server, 1,000 calls", "s", false, quotedCall, func(l load) float64 { return 1000 * l.cpu.Seconds() }),
	}
}

// remembering adds what the worker has taken in all.
func (b *bench) remembering(context.Context) error {
	most, err := b.ours.process.memory("VmHWM")
	if err != nil {
		return err
	}
	b.table.heading("After all that")
	b.table.add(row{name: "the most memory of the worker", unit: "MiB", ours: most, quoted: quotedMemory})
	return nil
}
