// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"testing"
	"time"
)

// patience is how long anything may take that is waited for. It is no
// expectation: two cores may have a lot to do.
const patience = 5 * time.Minute

// await looks until done says yes. what is for the failure's text; done may
// return a description of what it sees instead.
func await(t testing.TB, what string, done func() (ok bool, seen any)) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		ok, seen := done()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s; last seen: %v", what, seen)
		}
		time.Sleep(50 * time.Millisecond) // between two looks, not instead of one
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
