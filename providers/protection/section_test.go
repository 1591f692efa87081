// SPDX-License-Identifier: Apache-2.0

package protection_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var volume = resource.Resource{Type: resource.Volume, ID: "v1", Name: "vol"}

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
	if err := protection.Purge("Volume Backup")(t.Context(), c); err != nil {
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
	err := protection.Purge("Volume Backup")(t.Context(), c)
	if !fault.Is(err, "DeleteResourceFailed") {
		t.Fatalf("got %v", err)
	}
	if got := h.Text(volume, "status"); got != "error" {
		t.Errorf("status is %s", got)
	}
	if err := protection.Purge("Volume Backup")(t.Context(), c); err != nil {
		t.Errorf("second time: %v", err)
	}
}

func TestPurgePassesOverWhatIsGone(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	c := h.Call(volume)
	fillSection(t, c, 2)
	h.Faults.Queue(banktest.Delete, banktest.Fault{Err: fmt.Errorf("gone: %w", bank.ErrNotFound)})
	if err := protection.Purge("Volume Backup")(t.Context(), c); err != nil {
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
	if err := protection.Purge("Volume Backup", known)(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{c.Section.Path() + "status"}, memory.Below(c.Section.Path())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerifyStatus(t *testing.T) {
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
			err := protection.VerifyStatus("volume", "Volume backup", tc.whole)(t.Context(), c)
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

func TestVerifyStatusOfWhatWasNeverStored(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	err := protection.VerifyStatus("volume", "Volume backup", nil)(t.Context(), h.Call(volume))
	if !fault.Is(err, "VerifyResourceFailed") || !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if got := h.Status.Records(); len(got) != 1 || got[0].Status != "error" || got[0].Reason == "" {
		t.Errorf("recorded %v", got)
	}
}

func TestErrorStatusAfterTheEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cause error
		want  string
	}{
		"stopped":    {errors.New("stopping"), "error"},
		"lease lost": {fmt.Errorf("owner: %w", bank.ErrLeaseNotHeld), "protecting"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := plugintest.New(t)
			c := h.Call(volume)
			if err := c.PutStatus(t.Context(), protection.StatusProtecting); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(tc.cause)
			c.PutError(ctx)
			if got := h.Text(volume, "status"); got != tc.want {
				t.Errorf("status is %s, not %s", got, tc.want)
			}
		})
	}
}

func TestResourceWithoutASection(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	c := h.Call(volume)
	c.Section = nil
	if err := protection.Purge("Volume Backup")(t.Context(), c); !fault.Is(err, "DeleteResourceFailed") {
		t.Errorf("got %v", err)
	}
	if err := protection.VerifyStatus("volume", "Volume backup", nil)(t.Context(), c); !fault.Is(err, "VerifyResourceFailed") {
		t.Errorf("got %v", err)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	var p protection.Parameters
	if err := json.Unmarshal([]byte(`{"s": "text", "n": 5, "b": true, "py": "False", "null": null, "o": {}}`), &p); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"s": "text", "n": "5", "b": "true", "py": "False"} {
		if got, ok := p.String(name); got != want || !ok {
			t.Errorf("%s is %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"null", "o", "absent"} {
		if got, ok := p.String(name); ok {
			t.Errorf("%s is %q", name, got)
		}
	}
	if v, ok := p.Bool("b"); !v || !ok {
		t.Error("true is not true")
	}
	if v, ok := p.Bool("py"); v || !ok {
		t.Error("False is not false")
	}
	if _, ok := p.Bool("s"); ok {
		t.Error("text is a boolean")
	}
	merged := p.Overlay(protection.Parameters{"s": json.RawMessage(`"other"`)})
	if got, _ := merged.String("s"); got != "other" || len(merged) != len(p) {
		t.Errorf("merged to %v", merged)
	}
	if got, _ := p.String("s"); got != "text" {
		t.Error("the overlay changed what it lies over")
	}
}

func TestNewResources(t *testing.T) {
	t.Parallel()
	var none *protection.NewResources
	none.Set("a", "b")
	if _, ok := none.Get("a"); ok || none.All() != nil {
		t.Error("nil keeps something")
	}
	n := &protection.NewResources{}
	n.Set("a", "b")
	if got, ok := n.Get("a"); got != "b" || !ok {
		t.Errorf("got %q, %v", got, ok)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	type state struct{ ID string }
	h := plugintest.New(t)
	c := h.Call(volume)
	got := state{"before"}
	if err := c.LoadState(t.Context(), &got); err != nil || got.ID != "before" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := c.SaveState(t.Context(), state{"x"}); err != nil {
		t.Fatal(err)
	}
	if err := c.LoadState(t.Context(), &got); err != nil || got.ID != "x" {
		t.Errorf("got %v, %v", got, err)
	}
	c.State, c.Status = nil, nil
	if err := errors.Join(c.SaveState(t.Context(), got), c.LoadState(t.Context(), &got), c.UpdateStatus(t.Context(), "i", "s", "")); err != nil {
		t.Error(err)
	}
}

func TestRegistryRefusesAName(t *testing.T) {
	t.Parallel()
	r := protection.NewRegistry()
	build := func(*config.Config, protection.Deps) (protection.Plugin, error) { return nil, nil }
	r.Register([]string{"a", "b"}, nil, build)
	if _, err := r.Lookup("c"); err == nil {
		t.Error("an unknown name was found")
	}
	if e, err := r.Lookup("b"); err != nil || e.Names[0] != "a" || len(r.Entries()) != 1 {
		t.Errorf("got %v, %v", e, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name was taken twice")
		}
	}()
	r.Register([]string{"b"}, nil, build)
}
