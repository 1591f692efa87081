// SPDX-License-Identifier: Apache-2.0

package cloudtest

import "strings"

// Objects returns the names of the bank's objects.
func (s *Site) Objects() []string {
	s.t.Helper()
	return s.bank.Objects(s.Container)
}

// CheckPurged wants nothing of a deleted checkpoint in the bank but what tells
// that it was there.
func (s *Site) CheckPurged(checkpoint string) {
	s.t.Helper()
	// A listing may be a moment behind the objects.
	Await(s.t, "the bank to have no data of checkpoint "+checkpoint, func() (bool, any) {
		var left []string
		for _, name := range s.Objects() {
			if strings.Contains(name, checkpoint) && !strings.HasSuffix(name, "/index.json") && !strings.HasSuffix(name, "/status") {
				left = append(left, name)
			}
		}
		return len(left) == 0, left
	})
}
