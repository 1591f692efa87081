// SPDX-License-Identifier: Apache-2.0

// Package failure classifies errors of an operation: those that a retry may cure, permanent ones,
// and those that leave the operation to another worker.
package failure

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/wait"
	"github.com/karbor-project/karbor/pkg/workflow"
	"github.com/karbor-project/karbor/providers/protection"
)

// Permanent marks a failure whose cause is the operation itself, independent of the state of the
// services around it.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// Final reports whether retrying cannot cure an error, such as a row that is gone or that the
// database refuses. An outage of the database, journal or bank is not final.
func Final(err error) bool {
	var f *fault.Error
	if errors.As(err, &f) && f.Code() < 500 {
		return true
	}
	return errors.As(err, new(*permanentError)) || database.Refused(err) != nil || Overtaken(err) || HandedOver(err) ||
		errors.Is(err, checkpoint.ErrBroken) || Disowned(err)
}

// Disowned reports whether err says that the journal entry of the operation belongs to another
// worker or is gone.
func Disowned(err error) bool {
	return errors.Is(err, journal.ErrClaim) || errors.Is(err, journal.ErrNotFound)
}

// HandedOver reports whether an operation, or any hook of it, was interrupted so that its next
// owner resumes it.
func HandedOver(err error) bool {
	if errors.Is(err, protection.ErrHandover) || errors.Is(err, bank.ErrLeaseNotHeld) {
		return true
	}
	var failed *workflow.Error
	return errors.As(err, &failed) && slices.ContainsFunc(failed.Others, HandedOver)
}

// AsHandover converts err to an error that leaves the operation to its next owner. ctx is the
// context of the operation.
func AsHandover(ctx context.Context, err error) error {
	switch {
	case HandedOver(err):
		return err
	case ctx.Err() != nil:
		return errors.Join(protection.ErrHandover, context.Cause(ctx), err)
	}
	return errors.Join(protection.ErrHandover, err)
}

// Overtaken reports whether a status was not written because the checkpoint's current status, which
// somebody may have changed meanwhile, does not allow it.
func Overtaken(err error) bool {
	return errors.Is(err, checkpoint.ErrConflict) || errors.Is(err, checkpoint.ErrTransition)
}

// textLength bounds the text that one failure leaves in the database. The column is a TEXT of
// MySQL, 64 KiB; a reader needs only the beginning.
const textLength = 4096

// Describe returns the text of a failure for users and the log: the error of the first failed task
// with its causes.
func Describe(err error) string {
	var failed *workflow.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return Cut(fault.Detail(err))
}

// Cut shortens a text to the length that the tables allow.
func Cut(text string) string {
	if len(text) > textLength {
		return strings.ToValidUTF8(text[:textLength], "") + "..."
	}
	return text
}

// The pauses between the attempts of a write that must succeed.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// lastAttempt bounds a write when the worker is about to stop.
const lastAttempt = 5 * time.Second

// Retrier repeats writes that must succeed.
type Retrier struct {
	Draining context.Context // ends when the worker is about to stop
}

// Do repeats a write until it succeeds, fails with a final error, or ctx ends. If the worker is
// about to stop, the write is not repeated and the error is a handover, since the next owner of the
// operation repeats it.
func (r Retrier) Do(ctx context.Context, write func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.Draining, func() {
		select {
		case <-time.After(lastAttempt):
			cancel(protection.ErrHandover)
		case <-ctx.Done():
		}
	})()
	for delays := wait.Exponential(firstPause, longestPause); ; {
		err := write(ctx)
		if err == nil || Final(err) {
			return err
		}
		if r.Draining.Err() != nil {
			return errors.Join(protection.ErrHandover, err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-r.Draining.Done():
			return errors.Join(protection.ErrHandover, err)
		case <-time.After(delays.NextBackOff()):
		}
	}
}

// Journal is Do for the journal, without which an operation cannot end. It also retries errors
// about permissions and missing tables, which an operator can correct meanwhile.
func (r Retrier) Journal(ctx context.Context, log logrus.FieldLogger, call func(context.Context) error) error {
	logged := false
	return r.Do(ctx, func(ctx context.Context) error {
		err := call(ctx)
		refused := database.Refused(err)
		if refused == nil || refused.Refusal != database.Denied && refused.Refusal != database.Missing {
			return err
		}
		if !logged {
			logged = true
			log.Errorf("the journal is waited for: %s", fault.Detail(err))
		}
		return errors.New(refused.Advice() + ": " + err.Error())
	})
}
