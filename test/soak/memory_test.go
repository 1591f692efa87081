// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// tolerance is the share by which the resident memory of a process may grow from
	// the second to the last quarter of the run.
	tolerance = 0.15
	// smallLeak, in bytes for each call, must not pass as tolerable: a run in which
	// it would is too short to tell.
	smallLeak = 100
	// samples of memory are taken in a run.
	samples = 240
)

// watched is the resident memory of one process in the course of the run.
type watched struct {
	peer  *peer
	bytes []int64
}

// watch samples the processes until the returned function is called, which ends
// it and waits.
func watch(every time.Duration, all ...*watched) (end func()) {
	over := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticks.C:
			}
			for _, w := range all {
				w.bytes = append(w.bytes, w.peer.resident())
			}
		}
	})
	return sync.OnceFunc(func() { close(over); work.Wait() })
}

// growth compares the medians of the second and the last quarter. decisive says
// that a small leak would have been too much: half of the calls lie between them.
func growth(bytes []int64, calls int) (second, last float64, tooMuch, decisive bool) {
	quarter := len(bytes) / 4
	if quarter == 0 {
		return 0, 0, false, false
	}
	second, last = median(bytes[quarter:2*quarter]), median(bytes[len(bytes)-quarter:])
	allowed := tolerance * second
	return second, last, last > second+allowed, allowed < smallLeak*float64(calls)/2
}

func median(bytes []int64) float64 {
	sorted := slices.Clone(bytes)
	slices.Sort(sorted)
	return float64(sorted[len(sorted)/2])
}

// judge holds the process to a memory that does not grow with its calls.
func (w *watched) judge(t *testing.T, calls int) {
	t.Helper()
	second, last, tooMuch, decisive := growth(w.bytes, calls)
	text := fmt.Sprintf("%s: resident memory, median of the second quarter %.1f MB, of the last %.1f MB (%+.0f %%; %d calls, %d samples)",
		w.peer.name, second/1e6, last/1e6, 100*(last/max(second, 1)-1), calls, len(w.bytes))
	switch {
	case !decisive:
		t.Logf("%s: too few calls to judge", text)
	case tooMuch:
		t.Errorf("%s: more than %.0f %% more", text, 100*tolerance)
	default:
		t.Log(text)
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	const calls = 300_000
	for _, c := range []struct {
		name     string
		perCall  float64
		calls    int
		tooMuch  bool
		decisive bool
	}{
		{"flat", 0, calls, false, true},
		{"a small leak", smallLeak, calls, true, true},
		{"a small leak in a short run", smallLeak, calls / 10, false, false},
	} {
		var bytes []int64
		for i := range samples {
			noise := int64(i%7) * 300_000
			bytes = append(bytes, 30_000_000+noise+int64(c.perCall*float64(c.calls)*float64(i)/samples))
		}
		_, _, tooMuch, decisive := growth(bytes, c.calls)
		if tooMuch != c.tooMuch || decisive != c.decisive {
			t.Errorf("%s: too much %t, decisive %t, want %t, %t", c.name, tooMuch, decisive, c.tooMuch, c.decisive)
		}
	}
}
