// SPDX-License-Identifier: Apache-2.0

package torture

import (
	"runtime"
	"testing"
	"time"
)

// both does the same to the ways of server and client.
func (w *world) both(do func(end)) {
	do(w.server)
	do(w.client)
}

func (w *world) cut(t *testing.T) {
	w.survives(t, false, func() {
		for range 5 {
			w.both(func(e end) { e.proxy.Cut() })
			w.load.progress(t, 10)
		}
	})
}

func (w *world) reset(t *testing.T) {
	w.survives(t, false, func() {
		for range 5 {
			w.both(func(e end) { e.proxy.Reset() })
			w.load.progress(t, 10)
		}
	})
}

// halfOpen leaves the connections up while nothing passes: only heartbeats tell. What
// was held back comes to the broker in the end, beside what was sent again.
func (w *world) halfOpen(t *testing.T) {
	w.survives(t, false, func() {
		before := lines(w.server.log, "connection to the broker is lost") + lines(w.client.log, "connection to the broker is lost")
		w.both(func(e end) { e.proxy.Stall(true) })
		until(t, "all four connections to be given up", func() bool { return w.server.away() && w.client.away() })
		after := lines(w.server.log, "connection to the broker is lost") + lines(w.client.log, "connection to the broker is lost")
		if after != before+4 {
			t.Errorf("%d lines about 4 lost connections", after-before)
		}
		w.both(func(e end) { e.proxy.Stall(false) })
	})
}

func (w *world) oneByte(t *testing.T) {
	w.quietly(t, func() {
		w.both(func(e end) { e.proxy.SetChunk(1) })
		w.load.progress(t, 50)
		w.both(func(e end) { e.proxy.SetChunk(0) })
	})
}

func (w *world) delay(t *testing.T) {
	w.quietly(t, func() {
		w.both(func(e end) { e.proxy.SetDelay(200 * time.Millisecond) })
		w.load.progress(t, 20)
		w.both(func(e end) { e.proxy.SetDelay(0) })
	})
}

// quietly is survives for a fault that must not cost a connection.
func (w *world) quietly(t *testing.T, fault func()) {
	t.Helper()
	before := w.connections()
	w.survives(t, false, fault)
	if n := w.connections() - before; n != 0 {
		t.Errorf("%d new connections", n)
	}
}

// connections counts those that there have ever been.
func (w *world) connections() int { return w.server.proxy.Accepted() + w.client.proxy.Accepted() }

// cycles leave nothing behind, however often a connection is lost.
func (w *world) cycles(t *testing.T) {
	const rounds = 100
	goroutines, open := runtime.NumGoroutine(), w.server.proxy.Connections()+w.client.proxy.Connections()
	w.survives(t, false, func() {
		for i := range rounds {
			before := w.connections()
			w.both(func(e end) {
				if i%2 == 0 {
					e.proxy.Cut()
				} else {
					e.proxy.Reset()
				}
			})
			until(t, "new connections", func() bool { return w.connections() >= before+4 })
			w.load.progress(t, 1)
		}
	})
	until(t, "the connections to be as many as before", func() bool {
		return w.server.proxy.Connections()+w.client.proxy.Connections() == open
	})
	// The server may keep a goroutine for each worker.
	until(t, "the goroutines to be as many as before", func() bool { return runtime.NumGoroutine() <= goroutines+workers })
}
