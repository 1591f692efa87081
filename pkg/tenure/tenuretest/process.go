// SPDX-License-Identifier: Apache-2.0

// Package tenuretest has what can go wrong around a tenure, in the fake time of
// testing/synctest: processes that are stopped and whose clocks drift, and
// stores that refuse, hang, and lose or delay their answers.
package tenuretest

import (
	"context"
	"sync"
	"time"

	"github.com/karbor-project/karbor/pkg/tenure"
)

// Drift is a clock that is wrong: by an offset, and by a rate of 1000ths.
type Drift struct {
	Offset time.Duration
	Rate   int // 1000 is right
	start  time.Time
}

// Begin makes the clock go. It is called in the bubble.
func (d *Drift) Begin() { d.start = time.Now() }

// Now is what the clock shows.
func (d *Drift) Now() time.Time {
	return d.start.Add(d.Offset + time.Since(d.start)*time.Duration(d.Rate)/1000)
}

// Process is a process that can be stopped: none of its goroutines goes on
// until it is continued, while its clock runs.
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

// Stop stops the process for a while.
func (p *Process) Stop(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.stopped) {
		p.stopped = until
	}
}

// Wait waits while the process is stopped. Its goroutines call it wherever they
// have waited for something.
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

// Call is a request of the process to a store: do happens there. What the
// weather is when it is sent decides about its fate.
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
