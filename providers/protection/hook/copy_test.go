// SPDX-License-Identifier: Apache-2.0

package hook_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// copying returns the call of a copy within one bank, from a checkpoint whose
// section has n data objects.
func copying(t *testing.T, n int) (h *plugintest.Harness, source, c *protection.Call) {
	t.Helper()
	h = plugintest.New(t)
	source = h.Call(volume)
	fillSection(t, source, n)
	if err := errors.Join(source.Section.PutJSON(t.Context(), protection.MetadataKey, map[string]int{"a": 1}),
		source.PutStatus(t.Context(), protection.StatusAvailable)); err != nil {
		t.Fatal(err)
	}
	c = plugintest.Over(t, h.Faults).Call(volume)
	c.Copy, c.Checkpoint = c.Checkpoint, source.Checkpoint
	return h, source, c
}

// sections returns the objects of both sections by their keys.
func sections(h *plugintest.Harness, source, c *protection.Call) (from, to map[string]banktest.Stored) {
	from, to = map[string]banktest.Stored{}, map[string]banktest.Stored{}
	for _, key := range h.Memory.Below(source.Section.Path()) {
		from[key[len(source.Section.Path()):]] = h.Memory.Objects()[key]
	}
	for _, key := range h.Memory.Below(c.Section.Path()) {
		to[key[len(c.Section.Path()):]] = h.Memory.Objects()[key]
	}
	return from, to
}

func TestCopySection(t *testing.T) {
	t.Parallel()
	h, source, c := copying(t, 150)
	var told []int
	c.Progress = func(percent int) { told = append(told, percent) }
	operation := frame.Copy(func(context.Context, *protection.Call) ([]string, error) {
		return []string{"data_0"}, nil
	})
	if err := operation.Main(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	from, to := sections(h, source, c)
	if diff := cmp.Diff(from, to); diff != "" || len(to) != 152 {
		t.Errorf("%d objects (-want +got):\n%s", len(to), diff)
	}
	if fmt.Sprint(told) != "[42 85 100]" {
		t.Errorf("told %v", told)
	}
	// A second run knows how far the first had come.
	puts := h.Faults.Calls(banktest.Put)
	if err := operation.Main(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if again := h.Faults.Calls(banktest.Put) - puts; again != 3 {
		t.Errorf("the second run wrote %d objects", again)
	}
	if err := operation.Undo(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, to := sections(h, source, c); len(to) != 1 {
		t.Errorf("undo leaves %v", to)
	}
}

func TestCopySectionFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange func(t *testing.T, h *plugintest.Harness, source *protection.Call)
		want    string
	}{
		"source in error": {func(t *testing.T, _ *plugintest.Harness, source *protection.Call) {
			source.PutError(t.Context())
		}, "Create Volume Backup failed: The backup to be copied is in status error, id=v1"},
		"no source": {func(t *testing.T, _ *plugintest.Harness, source *protection.Call) {
			if err := source.Section.Delete(t.Context(), protection.StatusKey); err != nil {
				t.Fatal(err)
			}
		}, "Create Volume Backup failed: Get Object "},
		"bank is full": {func(_ *testing.T, h *plugintest.Harness, _ *protection.Call) {
			h.Faults.Queue(banktest.Put, banktest.Fault{}, banktest.Fault{}, banktest.Fault{Err: errors.New("full")})
		}, "Create Volume Backup failed: Update Object "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, source, c := copying(t, 5)
			tc.arrange(t, h, source)
			err := frame.Copy().Main(t.Context(), c)
			if !fault.Is(err, "CreateResourceFailed") || len(err.Error()) < len(tc.want) || err.Error()[:len(tc.want)] != tc.want {
				t.Errorf("got %v", err)
			}
			if status, err := c.Section.GetText(t.Context(), protection.StatusKey); status != "error" {
				t.Errorf("status is %q, %v", status, err)
			}
		})
	}
}

func TestCopySectionIsHandedOver(t *testing.T) {
	t.Parallel()
	h, _, c := copying(t, 5)
	ctx, cancel := context.WithCancelCause(t.Context())
	h.Faults.Queue(banktest.Put, banktest.Fault{}, banktest.Fault{Before: func(context.Context, string) { cancel(protection.ErrHandover) }})
	err := frame.Copy().Main(ctx, c)
	if !errors.Is(err, protection.ErrHandover) {
		t.Errorf("got %v", err)
	}
	if status, err := c.Section.GetText(t.Context(), protection.StatusKey); status != protection.StatusProtecting {
		t.Errorf("status is %q, %v", status, err)
	}
}
