// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
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

// persist repeats a write until it succeeds, cannot succeed, or ctx ends.
func persist(ctx context.Context, write func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := write(ctx)
		if err == nil || final(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// final tells a failure that no repetition mends, such as a row that is gone,
// from the absence of database, journal or bank.
func final(err error) bool {
	var f *fault.Error
	if errors.As(err, &f) && f.Code() < 500 {
		return true
	}
	var p *permanentError
	return errors.As(err, &p) || Overtaken(err) || handedOver(err) || errors.Is(err, checkpoint.ErrBroken) || disowned(err)
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
