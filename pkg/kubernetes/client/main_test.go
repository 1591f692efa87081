// SPDX-License-Identifier: Apache-2.0

package client

import (
	"runtime"
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

// tests end with a collection: the goroutines by which the library looks at the
// files of certificates end when the collector finds that nobody has their client
// any more. So a service that is reloaded many times does not gather them.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	for range 3 { // what is in pools goes with the second
		runtime.GC()
	}
	return code
}

func TestMain(m *testing.M) { leaktest.Main(tests{m}) }
