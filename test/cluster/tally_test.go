// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ledger is what the server has executed: how often each id, and when last.
type ledger struct {
	mu   sync.Mutex
	runs map[string]int
	when map[string]time.Time
}

func newLedger() *ledger { return &ledger{runs: map[string]int{}, when: map[string]time.Time{}} }

func (l *ledger) enter(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[id]++
	l.when[id] = time.Now()
}

// fate tells what the server knows of an id.
func (l *ledger) fate(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs[id] == 0 {
		return "never came to the server"
	}
	return "executed at " + l.when[id].Format(clock)
}

func (l *ledger) snapshot() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.runs)
}

// clock is how times are written in what a failure leaves behind.
const clock = "15:04:05.000"

// remembered is how many failures a tally tells one by one.
const remembered = 40

// tally is what one client knows of its requests.
type tally struct {
	name string

	mu sync.Mutex
	// answered were executed for sure and promised were confirmed by the broker,
	// so they will be; of the failed ones nothing is known.
	answered, promised, failed map[string]bool
	reasons                    map[string]int
	latest                     []string       // failures, the newest last
	ended                      map[string]int // requests of each caller that have ended
	last                       time.Time      // of the latest answer
	pause                      time.Duration  // the longest between two answers
	since                      int            // answers to calls begun after mark
	mark                       time.Time
}

func newTally(name string) *tally {
	return &tally{name: name, answered: map[string]bool{}, promised: map[string]bool{}, failed: map[string]bool{}, reasons: map[string]int{}, ended: map[string]int{}}
}

// answer notes a call that was begun and answered at those times.
func (t *tally) answer(id string, begun, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered[id] = true
	t.end(id)
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
	t.end(id)
}

// fail notes a request that was begun and given up at those times.
func (t *tally) fail(id, reason string, begun, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed[id] = true
	t.reasons[reason]++
	t.latest = append(t.latest, fmt.Sprintf("%s from %s to %s: %s", id, begun.Format(clock), at.Format(clock), reason))
	t.latest = t.latest[max(0, len(t.latest)-remembered):]
	t.end(id)
}

// end notes that the caller of the id, whose counter ends it, goes on to the next.
func (t *tally) end(id string) {
	at := strings.LastIndexByte(id, '-') + 1
	if n, err := strconv.Atoi(id[at:]); err == nil {
		t.ended[id[:at]] = n
	}
}

// underWay are the ids of what the callers wait for.
func (t *tally) underWay() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []string
	for caller, n := range t.ended {
		ids = append(ids, caller+strconv.Itoa(n+1))
	}
	slices.Sort(ids)
	return ids
}

// failures are the latest ones.
func (t *tally) failures() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.latest)
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
