// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"testing"
	"time"
)

// Await looks until done says yes. what is for the failure's text, and so is what
// done returns of what it sees.
func Await(t testing.TB, what string, done func() (ok bool, seen any)) {
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
		time.Sleep(200 * time.Millisecond) // between two looks, not instead of one
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
