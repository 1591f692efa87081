// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank"
)

// Causes with which the context of a hook ends. A context that ends with any
// other cause means the same as ErrDeadline: the hook cleans up and fails.
var (
	// ErrHandover: the work goes on elsewhere or later, in the same hook with
	// the same State. The hook returns soon, removes nothing, and writes no
	// status: everything that it made belongs to the next run.
	ErrHandover = errors.New("the work is handed over")
	// ErrCancelled: a user asked for the end. The hook removes what it made.
	// The cause is a *CancelError.
	ErrCancelled = errors.New("cancelled")
	// ErrDeadline: the hook or the operation took too long. The hook removes
	// what it made.
	ErrDeadline = errors.New("the deadline has passed")
)

// CancelError is the cause of a context whose operation a user cancelled.
type CancelError struct {
	By string // who asked, in a form for users
}

// Error names the user who cancelled.
func (e *CancelError) Error() string { return "cancelled by " + e.By }

// Unwrap returns ErrCancelled.
func (*CancelError) Unwrap() error { return ErrCancelled }

// HandedOver reports whether ctx has ended because the work goes on elsewhere or
// later, the loss of the bank's lease included.
func HandedOver(ctx context.Context) bool { return isHandover(context.Cause(ctx)) }

// Handover returns what a hook that failed with err has to return at once,
// without cleaning up, when its work is handed over; otherwise nil. The work is handed over
// when ctx has ended for that reason, or when err says so: the error of a wait that a
// draining worker has broken off, or of a write to a bank whose lease is lost. The error
// that Handover returns wraps ErrHandover.
func Handover(ctx context.Context, err error) error {
	switch {
	case err == nil, !isHandover(err) && !HandedOver(ctx):
		return nil
	case errors.Is(err, ErrHandover):
		return err
	}
	return fmt.Errorf("%w: %w", ErrHandover, err)
}

// Because returns err, and in front of it the cause of ctx if that has ended:
// users read who cancelled an operation, and not which call was interrupted.
func Because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil || cause == ctx.Err() {
		return err
	}
	return &EndedError{Cause: cause, Err: err}
}

// EndedError is the failure of a hook whose context has ended. Its text is the text of the
// cause.
type EndedError struct {
	Cause error // of the context
	Err   error // what failed for it
}

// Error returns the text of the cause.
func (e *EndedError) Error() string { return e.Cause.Error() }

// Unwrap returns both.
func (e *EndedError) Unwrap() []error { return []error{e.Cause, e.Err} }

func isHandover(err error) bool {
	return errors.Is(err, ErrHandover) || errors.Is(err, bank.ErrLeaseNotHeld)
}
