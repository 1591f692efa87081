// SPDX-License-Identifier: Apache-2.0

package notify

import "sync"

// window is how many unique ids a listener remembers; Python knows 16.
const window = 1024

// seen remembers the ids of the events acknowledged of late, first in first out.
type seen struct {
	mu    sync.Mutex
	ids   map[string]struct{}
	order [window]string
	next  int
}

func newSeen() *seen { return &seen{ids: make(map[string]struct{}, window)} }

// has is false for events without an id.
func (s *seen) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.ids[id]
	return found
}

func (s *seen) add(id string) {
	if id == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.ids[id]; known {
		return
	}
	delete(s.ids, s.order[s.next])
	s.ids[id] = struct{}{}
	s.order[s.next] = id
	s.next = (s.next + 1) % window
}
