// SPDX-License-Identifier: Apache-2.0

package torture

import (
	"testing"

	logtest "github.com/sirupsen/logrus/hooks/test"
)

// lockOut changes the password and ends all connections; letIn sets it back.
func (w *world) lockOut(t *testing.T) {
	t.Helper()
	w.ctl(t, "change_password", "guest", "another")
	t.Cleanup(func() { w.letIn(t) }) // whatever happens
	w.ctl(t, "close_all_connections", "new credentials")
}

func (w *world) letIn(t *testing.T) {
	t.Helper()
	w.ctl(t, "change_password", "guest", "guest")
}

// credentialsChanged locks a server and a client out that were in before. They keep
// trying, and say so once each time.
func (w *world) credentialsChanged(t *testing.T) {
	refusals := func(log *logtest.Hook) int { return lines(log, "refuse") }
	for range 2 {
		w.survives(t, false, func() {
			before, client, server := w.connections(), refusals(w.client.log), refusals(w.server.log)
			w.lockOut(t)
			until(t, "three attempts of each connection", func() bool { return w.connections() >= before+12 && w.server.away() && w.client.away() })
			if n := refusals(w.client.log) - client; n != 2 {
				t.Errorf("the client has said %d times that its 2 connections are refused", n)
			}
			if n := refusals(w.server.log) - server; n != 2 {
				t.Errorf("the server has said %d times that its 2 connections are refused", n)
			}
			w.letIn(t)
		})
	}
	for _, log := range []*logtest.Hook{w.client.log, w.server.log} {
		if lines(log, "guest:") > 0 {
			t.Error("the log shows the password")
		}
	}
}

// firstPublishing locks out a server that has only consumed until then. The answer to
// what it has begun waits for the credentials, as it would on a connection that was
// there before.
func (w *world) firstPublishing(t *testing.T) {
	s := w.end(t, nil)
	h := hold(t, w, s.transport)
	answer := h.call(t, w.client.transport, "accepted")
	w.lockOut(t)
	until(t, "the server to be locked out", func() bool { return lines(s.log, "refuse") > 0 })
	before := s.proxy.Accepted()
	close(h.release)
	until(t, "attempts to publish", func() bool { return s.proxy.Accepted() >= before+6 })
	w.letIn(t)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	until(t, "both ends", func() bool { return w.server.up() && w.client.up() })
}
