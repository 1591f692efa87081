// SPDX-License-Identifier: Apache-2.0

package operation

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
	"github.com/karbor-project/karbor/pkg/workflow"
	"github.com/karbor-project/karbor/providers/protection"
)

// recordTime bounds one write to the database on the way of an operation, which
// goes on without it.
const recordTime = 5 * time.Second

// The pauses between the attempts of a write that has to succeed.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// lastAttempt is how long a write may still take when the worker is about to stop.
const lastAttempt = 5 * time.Second

// persist repeats a write until it succeeds, cannot succeed, or ctx ends. When the
// worker is about to stop it is not repeated: the error is a handover then, for
// whoever goes on with the operation does so where the database is.
func (e *Engine) persist(ctx context.Context, write func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.draining, func() {
		select {
		case <-time.After(lastAttempt):
			cancel(protection.ErrHandover)
		case <-ctx.Done():
		}
	})()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := write(ctx)
		if err == nil || final(err) {
			return err
		}
		if e.draining.Err() != nil {
			return errors.Join(protection.ErrHandover, err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-e.draining.Done():
			return errors.Join(protection.ErrHandover, err)
		case <-time.After(pause):
		}
	}
}

// journaled is persist for the journal.
func (e *Engine) journaled(ctx context.Context, log logrus.FieldLogger, call func(context.Context) error) error {
	told := false
	return e.persist(ctx, func(ctx context.Context) error {
		err := awaited(call(ctx))
		if errors.As(err, new(*awaitedError)) && !told {
			told = true
			log.Errorf("the journal is waited for: %s", fault.Detail(err))
		}
		return err
	})
}

// awaitedError is a refusal that an operator can mend while the worker waits.
type awaitedError struct{ text string }

func (e *awaitedError) Error() string { return e.text }

// awaited makes an error of the journal one that does not last if it is for want of
// rights or tables: an operation cannot end without its journal.
func awaited(err error) error {
	if r := database.Refused(err); r != nil && (r.Refusal == database.Denied || r.Refusal == database.Missing) {
		return &awaitedError{r.Advice() + ": " + err.Error()}
	}
	return err
}

// final tells a failure that no repetition mends, such as a row that is gone or that
// the database refuses, from the absence of database, journal or bank.
func final(err error) bool {
	var f *fault.Error
	if errors.As(err, &f) && f.Code() < 500 {
		return true
	}
	var p *permanentError
	return errors.As(err, &p) || database.Refused(err) != nil || Overtaken(err) || handedOver(err) || errors.Is(err, checkpoint.ErrBroken) || disowned(err)
}

// disowned tells that the entry of an operation is somebody else's, or no more.
func disowned(err error) bool {
	return errors.Is(err, journal.ErrClaim) || errors.Is(err, journal.ErrNotFound)
}

// permanentError is a failure that comes of the operation itself, whatever the
// services around it do.
type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

func permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// handedOver tells that an operation, or any hook of it, was broken off to be
// gone on with by whoever owns it then.
func handedOver(err error) bool {
	if errors.Is(err, protection.ErrHandover) || errors.Is(err, bank.ErrLeaseNotHeld) {
		return true
	}
	var failed *workflow.Error
	return errors.As(err, &failed) && slices.ContainsFunc(failed.Others, handedOver)
}

// Overtaken tells whether a status was not written because the checkpoint's
// status does not allow it, be it that somebody has changed it meanwhile.
func Overtaken(err error) bool {
	return errors.Is(err, checkpoint.ErrConflict) || errors.Is(err, checkpoint.ErrTransition)
}

// errorInfoLength bounds what one failure leaves in the database. The column is
// a TEXT of MySQL, 64 KiB; a reader needs the beginning.
const errorInfoLength = 4096

// describe gives the text of a failure for users and the log: the first failed
// task's error, with its causes.
func describe(err error) string {
	var failed *workflow.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	text := fault.Detail(err)
	if len(text) > errorInfoLength {
		text = strings.ToValidUTF8(text[:errorInfoLength], "") + "..."
	}
	return text
}
