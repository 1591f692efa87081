// SPDX-License-Identifier: Apache-2.0

// Package tenuretest simulates faults around a tenure, in the fake time of
// testing/synctest: processes that are suspended and whose clocks drift, and stores
// that refuse, hang, and lose or delay their answers.
package tenuretest

import (
	"context"
	"sync"
	"time"

	"github.com/karbor-project/karbor/pkg/tenure"
)

// Drift is a wrong clock, with an offset and a rate in 1000ths.
type Drift struct {
	Offset time.Duration
	Rate   int // 1000 is right
	start  time.Time
}

// Begin starts the clock. It must be called in the synctest bubble.
func (d *Drift) Begin() { d.start = time.Now() }

// Now returns the time that the clock shows.
func (d *Drift) Now() time.Time {
	return d.start.Add(d.Offset + time.Since(d.start)*time.Duration(d.Rate)/1000)
}

// Process is a process that can be suspended: none of its goroutines runs until it is
// continued, while its clock goes on.
type Process struct {
	Drift

	mu      sync.Mutex
	stopped time.Time // until then
}

// Clock returns the clock of the process.
func (p *Process) Clock() tenure.Clock { return tenure.Clock{Now: p.Now, After: p.after} }

func (p *Process) after(d time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	rate := time.Duration(p.Rate)
	time.AfterFunc((d*1000+rate-1)/rate, func() { // never too early by p's clock
		p.Wait()
		c <- p.Now()
	})
	return c
}

// Stop suspends the process for a while.
func (p *Process) Stop(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.stopped) {
		p.stopped = until
	}
}

// Wait waits while the process is suspended. Its goroutines call Wait after every other
// wait.
func (p *Process) Wait() {
	for {
		p.mu.Lock()
		left := time.Until(p.stopped)
		p.mu.Unlock()
		if left <= 0 {
			return
		}
		time.Sleep(left)
	}
}

// Call is a request of the process to a store, where do is executed. The behavior of
// the store at the time of sending decides the outcome.
func (p *Process) Call(ctx context.Context, w Behavior, do func() error) error {
	p.Wait()
	defer p.Wait()
	switch w {
	case Refusing:
		return errWeather
	case Hanging:
		<-ctx.Done()
		return context.Cause(ctx)
	case Losing:
		time.Sleep(travel)
		_ = do()
		return errWeather
	case Late:
		arrived := make(chan error, 1)
		go func() {
			time.Sleep(lateness)
			arrived <- do()
		}()
		select {
		case err := <-arrived:
			time.Sleep(travel)
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	time.Sleep(travel)
	err := do()
	time.Sleep(travel)
	return err
}
