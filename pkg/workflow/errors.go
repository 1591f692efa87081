// SPDX-License-Identifier: Apache-2.0

package workflow

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// Error is the failure of a run.
type Error struct {
	// Task is the task that failed first, empty if the context ended the run.
	Task string
	// Err is its error, or the cause of the context.
	Err error
	// Others are the failures of tasks that were running at that time.
	Others []error
	// RevertErrs are the failures of reverts, in the order of the reverts.
	RevertErrs []error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Task != "" {
		fmt.Fprintf(&b, "task %s: ", e.Task)
	}
	b.WriteString(e.Err.Error())
	if n := len(e.Others); n > 0 {
		fmt.Fprintf(&b, " (%d more failed)", n)
	}
	if n := len(e.RevertErrs); n > 0 {
		fmt.Fprintf(&b, " (%d not reverted)", n)
	}
	return b.String()
}

// Unwrap leads to the first failure alone: the others are consequences or
// coincidence.
func (e *Error) Unwrap() error { return e.Err }

// PanicError is a panic of a task, of which only that task's run fails.
type PanicError struct {
	Value any
	// Stack is for a log; it is no part of the error's text, which users see.
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap gives the value of the panic if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
