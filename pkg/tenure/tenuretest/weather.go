// SPDX-License-Identifier: Apache-2.0

package tenuretest

import (
	"errors"
	"time"

	"pgregory.net/rapid"
)

// Behavior is a store's treatment of a request.
type Behavior int

// The behaviors of a store.
const (
	Good     Behavior = iota
	Refusing          // an error, and nothing happened
	Hanging           // nothing happens
	Losing            // it happens, and the answer is an error
	Late              // it happens late, after the caller gave up or just before
)

const (
	travel   = 20 * time.Millisecond // of a request or an answer
	lateness = 9 * time.Second
)

var errWeather = errors.New("connection reset by peer")

// Event is a fault that affects one process.
type Event struct {
	At       time.Duration // after the beginning
	For      time.Duration
	Stop     bool     // the process is stopped
	Behavior Behavior // else: of its store, for it
}

// DrawProcess draws a process whose clock is wrong by minutes and by up to 5 %.
func DrawProcess(t *rapid.T, label string) *Process {
	return &Process{Drift: DrawDrift(t, label)}
}

// DrawDrift draws a clock.
func DrawDrift(t *rapid.T, label string) Drift {
	return Drift{
		Offset: time.Duration(rapid.IntRange(-600, 600).Draw(t, label+" offset")) * time.Second,
		Rate:   rapid.IntRange(950, 1050).Draw(t, label+" rate"),
	}
}

// DrawEvents draws the faults until end, in units of unit.
func DrawEvents(t *rapid.T, label string, end, unit time.Duration) []Event {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event {
		e := Event{
			At:   time.Duration(rapid.IntRange(0, int(end/unit)).Draw(t, "at")) * unit,
			For:  time.Duration(rapid.IntRange(1, 120).Draw(t, "for")) * unit / 2,
			Stop: rapid.Bool().Draw(t, "stop"),
		}
		if !e.Stop {
			e.Behavior = Behavior(rapid.IntRange(int(Refusing), int(Late)).Draw(t, "behavior"))
		}
		return e
	}), 0, 8).Draw(t, label)
}

// BehaviorAt returns the behavior of the store at a time after the beginning.
func BehaviorAt(events []Event, now time.Duration) Behavior {
	for _, e := range events {
		if !e.Stop && e.At <= now && now < e.At+e.For {
			return e.Behavior
		}
	}
	return Good
}

// StopAt suspends the process for each event between two times after the beginning.
func (p *Process) StopAt(events []Event, from, to time.Duration) {
	for _, e := range events {
		if e.Stop && from <= e.At && e.At < to {
			p.Stop(e.For)
		}
	}
}
