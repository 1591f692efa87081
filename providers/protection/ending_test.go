// SPDX-License-Identifier: Apache-2.0

package protection_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// How the ready-made hooks end when their context does, in the middle.
func TestEndingOfHooks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cause  error
		want   error
		status string // of the purge
		text   string
	}{
		"handed over": {protection.ErrHandover, protection.ErrHandover, protection.StatusDeleting, ""},
		"lease lost":  {bank.ErrLeaseNotHeld, protection.ErrHandover, protection.StatusDeleting, ""},
		"cancelled":   {&protection.CancelError{By: "demo"}, protection.ErrCancelled, protection.StatusError, "cancelled by demo"},
		"deadline":    {protection.ErrDeadline, protection.ErrDeadline, protection.StatusError, "the deadline has passed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := plugintest.New(t)
			c := h.Call(volume)
			fillSection(t, c, 3)
			ctx, cancel := context.WithCancelCause(t.Context())
			h.Faults.Queue(banktest.List, banktest.Fault{Before: func(context.Context, string) { cancel(tc.cause) }})
			err := protection.Purge("Volume Backup")(ctx, c)
			if !errors.Is(err, tc.want) {
				t.Errorf("purge: %v", err)
			}
			if got := h.Text(volume, protection.StatusKey); got != tc.status {
				t.Errorf("status is %s", got)
			}
			if handed := !fault.Is(err, "DeleteResourceFailed"); handed != (tc.text == "") || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("the text is %q", err)
			}

			ctx, cancel = context.WithCancelCause(t.Context())
			h.Faults.Queue(banktest.Get, banktest.Fault{Before: func(context.Context, string) { cancel(tc.cause) }})
			err = protection.VerifyStatus("volume", "Volume backup", nil)(ctx, c)
			if !errors.Is(err, tc.want) || len(h.Status.Records()) > 0 {
				t.Errorf("verify: %v, recorded %v", err, h.Status.Records())
			}
		})
	}
}

func TestAftermathEndsWithTheHandover(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	after, end := protection.Aftermath(ctx)
	defer end()
	if after.Err() != nil {
		t.Fatal("it ended before it began")
	}
	cancel(protection.ErrHandover)
	<-after.Done()
	if !protection.HandedOver(after) {
		t.Errorf("ended with %v", context.Cause(after))
	}

	ctx, cancel = context.WithCancelCause(t.Context())
	cancel(&protection.CancelError{By: "u"})
	after, end = protection.Aftermath(ctx)
	defer end()
	if after.Err() != nil {
		t.Error("there is no time to clean up")
	}
}
