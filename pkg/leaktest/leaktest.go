// SPDX-License-Identifier: Apache-2.0

// Package leaktest looks for goroutines that the tests of a package leave behind.
// goleak itself waits for less than half a second, in which a goroutine that is about
// to end may not even be scheduled on a busy machine.
package leaktest

import (
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end. Only a leak uses all of it.
const patience = time.Minute

// Main runs the tests of a package, looks for leaks, and exits. m is a *testing.M.
func Main(m goleak.TestingM, options ...goleak.Option) {
	goleak.VerifyTestMain(settled{m}, options...)
}

// Find returns an error that lists the goroutines that do not end.
func Find() error {
	for end := time.Now().Add(patience); ; {
		err := goleak.Find()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// settled is a TestingM whose Run also waits until the goroutines have ended or patience
// is over.
type settled struct{ goleak.TestingM }

// Run implements goleak.TestingM.
func (s settled) Run() int {
	code := s.TestingM.Run()
	if code == 0 {
		_ = Find() // goleak reports what is left
	}
	return code
}
