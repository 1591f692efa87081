// SPDX-License-Identifier: Apache-2.0

package leaktest_test

import (
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestWhatEndsLateIsNoLeak has a goroutine that ends later than goleak waits, as on a
// machine that has no time for it.
func TestWhatEndsLateIsNoLeak(t *testing.T) {
	go time.Sleep(2 * time.Second)
	if err := leaktest.Find(); err != nil {
		t.Error(err)
	}
}
