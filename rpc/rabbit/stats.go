// SPDX-License-Identifier: Apache-2.0

package rabbit

import "time"

// blockage is how long the present blockage has lasted. It wants the lock.
func (s *session) blockage() time.Duration {
	if s.since.IsZero() {
		return 0
	}
	return time.Since(s.since)
}

// blockedTime is how long the broker has taken nothing on this connection.
func (s *session) blockedTime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waited + s.blockage()
}

// consuming tells whether there is a listener, and whether each has a consumer at
// every queue.
func (t *Transport) consuming() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l := range t.listeners {
		if !l.sub.consuming.Load() {
			return false
		}
	}
	return len(t.listeners) > 0
}
