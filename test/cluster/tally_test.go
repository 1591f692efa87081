// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ledger is what the server has executed: how often each id.
type ledger struct {
	mu   sync.Mutex
	runs map[string]int
}

func (l *ledger) enter(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[id]++
}

func (l *ledger) snapshot() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.runs)
}

// tally is what one client knows of its requests.
type tally struct {
	name string

	mu sync.Mutex
	// answered were executed for sure and promised were confirmed by the broker,
	// so they will be; of the failed ones nothing is known.
	answered, promised, failed map[string]bool
	reasons                    map[string]int
	last                       time.Time     // of the latest answer
	pause                      time.Duration // the longest between two answers
	since                      int           // answers to calls begun after mark
	mark                       time.Time
}

func newTally(name string) *tally {
	return &tally{name: name, answered: map[string]bool{}, promised: map[string]bool{}, failed: map[string]bool{}, reasons: map[string]int{}}
}

// answer notes a call that was begun and answered at those times.
func (t *tally) answer(id string, begun, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered[id] = true
	if !t.last.IsZero() {
		t.pause = max(t.pause, at.Sub(t.last))
	}
	t.last = at
	if begun.After(t.mark) {
		t.since++
	}
}

func (t *tally) promise(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.promised[id] = true
}

func (t *tally) fail(id, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed[id] = true
	t.reasons[reason]++
}

// restart begins a phase: answers of calls begun from now on count.
func (t *tally) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark, t.since, t.pause = time.Now(), 0, 0
}

// flows reports whether the phase has seen n answers.
func (t *tally) flows(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since >= n
}

func (t *tally) longestPause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pause
}

// phase is when the phase began.
func (t *tally) phase() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mark
}

// owed are the ids that must be, or become, part of the ledger.
func (t *tally) owed() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Keys(t.answered)), slices.Collect(maps.Keys(t.promised)))
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%s: %d answered, %d promised, %d failed %v", t.name, len(t.answered), len(t.promised), len(t.failed), t.reasons)
}
