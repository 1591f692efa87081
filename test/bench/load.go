// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load is what a number of equal calls took.
type load struct {
	rate     float64 // calls per second
	p50, p99 time.Duration
	cpu      time.Duration // of the server, for each call
}

// measure makes calls, so many at a time, against a server. The first call that
// fails ends it: none may be lost.
func measure(ctx context.Context, server *process, calls, workers int, call func(context.Context) error) (load, error) {
	before, err := server.cpu()
	if err != nil {
		return load{}, err
	}
	begin := time.Now()
	took, err := repeat(ctx, calls, workers, call)
	if err != nil {
		return load{}, fmt.Errorf("%s, %d at a time: %w", server.name, workers, err)
	}
	whole := time.Since(begin)
	after, err := server.cpu()
	if err != nil {
		return load{}, err
	}
	return load{
		rate: float64(calls) / whole.Seconds(), cpu: (after - before) / time.Duration(calls),
		p50: quantile(took, 0.5), p99: quantile(took, 0.99),
	}, nil
}

// repeat returns how long each call took.
func repeat(ctx context.Context, calls, workers int, call func(context.Context) error) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([]time.Duration, calls)
	var next atomic.Int64
	var working sync.WaitGroup
	for range min(workers, calls) {
		working.Go(func() {
			for i := next.Add(1) - 1; i < int64(calls) && ctx.Err() == nil; i = next.Add(1) - 1 {
				begin := time.Now()
				if err := call(ctx); err != nil {
					cancel(fmt.Errorf("call %d: %w", i, err))
					return
				}
				took[i] = time.Since(begin)
			}
		})
	}
	working.Wait()
	return took, context.Cause(ctx)
}

// quantile returns the smallest time that a share of all times does not exceed.
func quantile(times []time.Duration, share float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[max(0, int(share*float64(len(sorted))+0.999999)-1)]
}

func median(times []time.Duration) time.Duration { return quantile(times, 0.5) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
