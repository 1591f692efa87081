// SPDX-License-Identifier: Apache-2.0

package rabbit

import "time"

// answerTime bounds one round trip to the broker. A node that has lost the others
// of its cluster can hang in a declaration for as long as it lives, while it goes
// on to send heartbeats: nothing else would tell.
const answerTime = 30 * time.Second

// expectAnswer gives the connection up when the returned function was not called
// in time, so that another host is tried. Time in which the broker takes no
// messages does not count: it then answers nothing on purpose.
func (s *session) expectAnswer(what string, within time.Duration) (answered func()) {
	done := make(chan struct{})
	go func() {
		timer := time.NewTimer(within)
		defer timer.Stop()
		for {
			select {
			case <-done:
				return
			case <-s.lost:
				return
			case <-timer.C:
			}
			if !s.isBlocked() {
				s.giveUp(what)
				return
			}
			timer.Reset(within)
		}
	}()
	return func() { close(done) }
}

func (s *session) giveUp(what string) {
	s.mu.Lock()
	s.hung = what
	s.mu.Unlock()
	// The error would only repeat that the broker does not answer.
	_ = s.conn.CloseDeadline(time.Now().Add(closeGrace))
}

func (s *session) hungIn() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hung
}
