// SPDX-License-Identifier: Apache-2.0

package janitor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrIncomplete reports that something could not be looked at or mended. The
// log says what.
var ErrIncomplete = errors.New("not everything could be looked at and mended; the log says what")

// Plan looks once and says what Repair would do if nothing changed until its
// second look. It writes nothing. With ErrIncomplete the plan is of the rest.
func (j *Janitor) Plan(ctx context.Context) ([]string, error) {
	plan := []string{}
	var failed error
	for _, p := range j.config.Providers {
		found, err := j.look(ctx, p)
		if cause := context.Cause(ctx); cause != nil {
			return plan, cause
		}
		if err != nil {
			j.config.Log.Errorf("look at the bank of provider %s: %v", p.ID, err)
			failed = ErrIncomplete
			continue
		}
		for _, f := range found {
			plan = append(plan, describe(p, f))
		}
	}
	return plan, failed
}

// Repair looks, waits for the grace, looks again and mends what is still wrong.
// It returns what was done, each as Plan would say it. While another janitor is
// at work it waits. tell gets a line about what it waits for; nil is nobody.
func (j *Janitor) Repair(ctx context.Context, tell func(string)) ([]string, error) {
	if tell == nil {
		tell = func(string) {}
	}
	ctx, end, ok := j.enter(ctx, true)
	if !ok {
		return nil, fmt.Errorf("wait for the janitor's lock: %w", context.Cause(ctx))
	}
	defer end()
	done := []string{}
	add := func(text string) {
		j.config.Log.Warn(text)
		done = append(done, text)
	}
	clear(j.marks)
	first := j.round(ctx, add)
	if first.found > 0 && ctx.Err() == nil {
		wait := j.longestGrace()
		tell(fmt.Sprintf("%d things look wrong; looking again in %s", first.found, wait))
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			second := j.round(ctx, add)
			first.failed += second.failed
		case <-ctx.Done():
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return done, cause
	}
	if first.failed > 0 {
		return done, ErrIncomplete
	}
	return done, nil
}

func (j *Janitor) longestGrace() time.Duration {
	longest := grace
	for _, p := range j.config.Providers {
		if lease := p.Lease(); lease != nil {
			longest = max(longest, lease.Windows().Expire)
		}
	}
	return longest
}
