// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"runtime"
	"testing"
)

// Tests is a testing.M that collects garbage after the tests, before a check for leaks:
// client-go stops watching certificate files when the collector finds that their client
// is no longer used.
type Tests struct{ *testing.M }

// Run runs the tests.
func (t Tests) Run() int {
	code := t.M.Run()
	for range 3 { // the second run empties pools
		runtime.GC()
	}
	return code
}
