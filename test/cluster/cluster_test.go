// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"testing"
	"time"
)

// What must flow from each client before a phase counts as served.
const (
	enoughGo     = 200
	enoughPython = 20
)

// TestNodesComeAndGo takes each node down in turn, first by killing it and then by
// cutting it off from the others, under load that never stops.
func TestNodesComeAndGo(t *testing.T) {
	b := newBroker(t)
	l := newTraffic(t, b)
	l.restart()
	l.flowing(t, "before")
	for _, fault := range []struct {
		name      string
		hit, mend func(node)
	}{
		{"killed", func(n node) { b.docker("kill", n.name) }, func(n node) { b.docker("start", n.name) }},
		{
			"cut off",
			func(n node) { b.docker("network", "disconnect", b.network, n.name) },
			func(n node) { b.docker("network", "connect", b.network, n.name) },
		},
	} {
		for _, n := range b.nodes {
			b.whole(n)
			l.restart()
			fault.hit(n)
			mended := false
			mend := func() {
				if !mended {
					mended = true
					fault.mend(n)
				}
			}
			t.Cleanup(mend) // a test that fails leaves a whole cluster
			if fault.name == "cut off" {
				// Until it has noticed, it serves those who are connected to it.
				until(t, n.name+" to stop serving", func() bool { return !n.serving() })
			}
			l.flowing(t, n.name+" "+fault.name)
			l.restart()
			mend()
			until(t, n.name+" to serve again", n.serving)
			l.flowing(t, n.name+" back")
		}
	}
	l.end()
	l.settle(t)
}

func (l *traffic) restart() {
	for _, c := range l.clients {
		c.restart()
	}
}

// flowing waits until both clients are served in the phase, and tells how long that
// took since its beginning and for how long they were not.
func (l *traffic) flowing(t *testing.T, phase string) {
	t.Helper()
	for i, enough := range []int{enoughGo, enoughPython} {
		until(t, l.clients[i].name+" to be served: "+phase, func() bool { return l.clients[i].flows(enough) })
	}
	t.Logf("%s: %s; longest pause between answers: go %s, python %s", phase, time.Since(l.clients[0].phase()).Round(time.Millisecond),
		l.clients[0].longestPause().Round(time.Millisecond), l.clients[1].longestPause().Round(time.Millisecond))
}

// settle compares what the clients know with what was executed.
func (l *traffic) settle(t *testing.T) {
	t.Helper()
	for _, c := range l.clients {
		t.Log(c)
		owed := c.owed()
		missing := func() []string {
			runs := l.ledger.snapshot()
			return slices.DeleteFunc(slices.Clone(owed), func(id string) bool { return runs[id] > 0 })
		}
		// Confirmed casts may still be on their way.
		for deadline := time.Now().Add(patience); len(missing()) > 0; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: lost: %v", c.name, missing())
			}
		}
	}
	for id, n := range l.ledger.snapshot() {
		if n != 1 {
			t.Errorf("%s was executed %d times", id, n)
		}
	}
}
