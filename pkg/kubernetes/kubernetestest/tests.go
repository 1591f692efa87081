// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"runtime"
	"testing"
)

// Tests end with a collection, for a check for leaks after them: client-go stops to
// look at the files of certificates when the collector finds that nobody has their
// client any more.
type Tests struct{ *testing.M }

// Run runs the tests.
func (t Tests) Run() int {
	code := t.M.Run()
	for range 3 { // what is in pools goes with the second
		runtime.GC()
	}
	return code
}
