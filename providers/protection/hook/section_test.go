// SPDX-License-Identifier: Apache-2.0

package hook_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var volume = resource.Resource{Type: resource.Volume, ID: "v1", Name: "vol"}

var frame = hook.Frame{Title: "Volume Backup", Verified: "Volume backup"}

func fillSection(t *testing.T, c *protection.Call, n int) {
	t.Helper()
	for i := range n {
		if err := c.Section.PutText(t.Context(), fmt.Sprintf("data_%d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	c := h.Call(volume)
	fillSection(t, c, 2500) // three pages
	if err := frame.Delete(hook.Purge())(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"status"}, h.Keys(volume)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := h.Text(volume, "status"); got != "deleted" {
		t.Errorf("status is %s", got)
	}
}

func TestPurgeFails(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	c := h.Call(volume)
	fillSection(t, c, 3)
	h.Faults.Queue(banktest.Delete, banktest.Fault{Err: errors.New("store is away")})
	err := frame.Delete(hook.Purge())(t.Context(), c)
	if !fault.Is(err, "DeleteResourceFailed") {
		t.Fatalf("got %v", err)
	}
	if got := h.Text(volume, "status"); got != "error" {
		t.Errorf("status is %s", got)
	}
	if err := frame.Delete(hook.Purge())(t.Context(), c); err != nil {
		t.Errorf("second time: %v", err)
	}
}

func TestPurgePassesOverWhatIsGone(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	c := h.Call(volume)
	fillSection(t, c, 2)
	h.Faults.Queue(banktest.Delete, banktest.Fault{Err: fmt.Errorf("gone: %w", bank.ErrNotFound)})
	if err := frame.Delete(hook.Purge())(t.Context(), c); err != nil {
		t.Errorf("got %v", err)
	}
}

// lagging is a bank whose listings know nothing yet.
type lagging struct{ *banktest.Memory }

func (lagging) List(context.Context, bank.ListOptions) ([]string, error) { return nil, nil }

func TestPurgeOfWhatIsNotListedYet(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	c := plugintest.Over(t, lagging{memory}).Call(volume)
	fillSection(t, c, 3)
	if err := c.Section.PutText(t.Context(), protection.MetadataKey, "{}"); err != nil {
		t.Fatal(err)
	}
	known := func(context.Context, *protection.Call) ([]string, error) {
		return []string{"data_0", "data_1", "data_2", "data_3"}, nil
	}
	if err := frame.Delete(hook.Purge(known))(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{c.Section.Path() + "status"}, memory.Below(c.Section.Path())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLookAtStatus(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status, text string
		whole        protection.Hook
		want         plugintest.Record
	}{
		"available": {"available", "", nil, plugintest.Record{Status: "available"}},
		"error":     {"error", "", nil, plugintest.Record{Status: "error", Reason: "The status of volume backup status is error."}},
		"deleting":  {"deleting", "", nil, plugintest.Record{Status: "deleting", Reason: "The status of volume backup status is deleting."}},
		"not whole": {"available", "", func(context.Context, *protection.Call) error { return errors.New("half") }, plugintest.Record{Status: "error", Reason: "half"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := plugintest.New(t)
			c := h.Call(volume)
			if err := c.PutStatus(t.Context(), tc.status); err != nil {
				t.Fatal(err)
			}
			err := frame.Verify(hook.LookAtStatus("volume", tc.whole))(t.Context(), c)
			tc.want.Type, tc.want.ID = volume.Type, volume.ID
			if diff := cmp.Diff([]plugintest.Record{tc.want}, h.Status.Records()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tc.want.Reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			want := "Verify Volume backup failed: " + tc.want.Reason + ", id=v1, type=OS::Cinder::Volume"
			if !fault.Is(err, "VerifyResourceFailed") || err.Error() != want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLookAtStatusOfWhatWasNeverStored(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	err := frame.Verify(hook.LookAtStatus("volume", nil))(t.Context(), h.Call(volume))
	if !fault.Is(err, "VerifyResourceFailed") || !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if got := h.Status.Records(); len(got) != 1 || got[0].Status != "error" || got[0].Reason == "" {
		t.Errorf("recorded %v", got)
	}
}

func TestResourceWithoutASection(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	c := h.Call(volume)
	c.Section = nil
	if err := frame.Delete(hook.Purge())(t.Context(), c); !fault.Is(err, "DeleteResourceFailed") {
		t.Errorf("got %v", err)
	}
	if err := frame.Verify(hook.LookAtStatus("volume", nil))(t.Context(), c); !fault.Is(err, "VerifyResourceFailed") {
		t.Errorf("got %v", err)
	}
}

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
			err := frame.Delete(hook.Purge())(ctx, c)
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
			err = frame.Verify(hook.LookAtStatus("volume", nil))(ctx, c)
			if !errors.Is(err, tc.want) || len(h.Status.Records()) > 0 {
				t.Errorf("verify: %v, recorded %v", err, h.Status.Records())
			}
		})
	}
}
