// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the growing pause between attempts: interval, interval+step, ... up
// to the limit, each shortened by up to a quarter at random so that the members of
// a cluster do not come back all at once. oslo.messaging: impl_rabbit.py with
// kombu's retry_over_time
type backoff struct {
	interval, step, limit time.Duration
	attempt               int
	jitter                func() float64 // in [0,1)
}

func (o *Options) backoff() *backoff {
	first := time.Duration(o.RetryInterval) * time.Second
	return &backoff{
		interval: first,
		step:     time.Duration(o.RetryBackoff) * time.Second,
		limit:    first + time.Duration(o.IntervalMax)*time.Second,
		jitter:   rand.Float64,
	}
}

func (b *backoff) reset() { b.attempt = 0 }

func (b *backoff) next() time.Duration {
	d := min(b.interval+time.Duration(b.attempt)*b.step, b.limit)
	b.attempt++
	return d - time.Duration(b.jitter()*float64(d)/4)
}

// reconnectDelay is the pause after the loss of a connection.
func (o *Options) reconnectDelay() time.Duration {
	seconds := o.ReconnectDelay*(1-rand.Float64()/4) + o.ReconnectSplay*rand.Float64()
	return time.Duration(seconds * float64(time.Second))
}

// pause waits and reports whether it was not cut short by ctx.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
