// SPDX-License-Identifier: Apache-2.0

package protection_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/providers/protection"
)

func TestHandover(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		cause error // of the context's end, nil while it goes on
		err   error
		want  bool
	}{
		"no error":               {protection.ErrHandover, nil, false},
		"failure":                {nil, broken, false},
		"failure after handover": {fmt.Errorf("drained: %w", protection.ErrHandover), broken, true},
		"lease of the bank":      {fmt.Errorf("owner: %w", bank.ErrLeaseNotHeld), broken, true},
		"a write was refused":    {nil, fmt.Errorf("put: %w", bank.ErrLeaseNotHeld), true},
		"a wait was broken off":  {nil, fmt.Errorf("wait: %w", protection.ErrHandover), true},
		"cancelled":              {&protection.CancelError{By: "u"}, broken, false},
		"too late":               {protection.ErrDeadline, broken, false},
		"no cause":               {context.Canceled, broken, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if tc.cause != nil {
				cancel(tc.cause)
			}
			err := protection.Handover(ctx, tc.err)
			if (err != nil) != tc.want {
				t.Fatalf("got %v", err)
			}
			if err != nil && (!errors.Is(err, protection.ErrHandover) || !errors.Is(err, tc.err)) {
				t.Errorf("%v does not wrap both", err)
			}
		})
	}
}

func TestCancelError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("operation: %w", &protection.CancelError{By: "demo"}))
	cause := context.Cause(ctx)
	var by *protection.CancelError
	if !errors.Is(cause, protection.ErrCancelled) || !errors.As(cause, &by) || by.Error() != "cancelled by demo" {
		t.Errorf("got %v", cause)
	}
	if protection.HandedOver(ctx) {
		t.Error("a cancelled operation is not handed over")
	}
}

func TestDraining(t *testing.T) {
	t.Parallel()
	if protection.Draining(t.Context()) != nil {
		t.Error("nobody tells, and yet there is a channel")
	}
	drain := make(chan struct{})
	ctx, cancel := context.WithCancel(protection.WithDrain(t.Context(), drain))
	defer cancel()
	close(drain)
	<-protection.Draining(ctx)
}

func TestReport(t *testing.T) {
	t.Parallel()
	(&protection.Call{}).Report(5)
	var got []int
	c := &protection.Call{Progress: func(percent int) { got = append(got, percent) }}
	for _, percent := range []int{-1, 0, 50, 101} {
		c.Report(percent)
	}
	if fmt.Sprint(got) != "[0 0 50 100]" {
		t.Errorf("told %v", got)
	}
}
