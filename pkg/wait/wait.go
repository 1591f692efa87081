// SPDX-License-Identifier: Apache-2.0

// Package wait has the pauses of retries: growing delays, and a sleep that the end of a
// context interrupts. Callers decide what to repeat, and how often.
package wait

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Exponential returns delays that begin at first and double up to longest. Each varies
// by half in both directions, so that callers who failed together do not return
// together.
func Exponential(first, longest time.Duration) backoff.ExponentialBackOff {
	return backoff.ExponentialBackOff{
		InitialInterval: first, Multiplier: 2, MaxInterval: longest,
		RandomizationFactor: backoff.DefaultRandomizationFactor,
	}
}

// Sleep returns nil after d, or the cause of ctx as soon as ctx has ended.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
