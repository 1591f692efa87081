// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// kept is a plugin whose backup is one object, and whose protection waits for its end.
func kept(started chan<- struct{}) hookPlugin {
	return hookPlugin{func(k protection.Kind, _ resource.Resource) (*protection.Operation, error) {
		if k == protection.Delete {
			return &protection.Operation{Main: func(ctx context.Context, c *protection.Call) error {
				if err := c.Section.Delete(ctx, "data"); !errors.Is(err, bank.ErrNotFound) {
					return err
				}
				return nil
			}}, nil
		}
		return &protection.Operation{Main: func(ctx context.Context, c *protection.Call) error {
			if err := c.Section.PutText(ctx, "data", "x"); err != nil {
				return err
			}
			started <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		}}, nil
	}}
}

// A bank that is away while a cancelled operation is undone is waited for, but not for
// ever: what is left then is named.
func TestUndoWaitsForTheBank(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lasts  time.Duration
		err    error
		reason string
	}{
		{time.Minute, errors.New("no bank"), "cancelled by alice"},
		{time.Hour, errors.New("no bank"), "cancelled by alice; not removed: OS::Cinder::Volume#v: Delete Object DATA in Bank Failed: no bank"},
		{0, nil, "cancelled by alice"},
	} {
		synctest.Test(t, func(t *testing.T) {
			started := make(chan struct{}, 1)
			b := setup(t, kept(started), nil)
			id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
			if err != nil {
				t.Fatal(err)
			}
			<-started
			data := "/checkpoints/" + id + "/resource-data/v/data"
			end := func() {}
			if tt.err != nil {
				end = b.bank.Begin(banktest.Outage{Methods: []banktest.Method{banktest.Delete}, Prefix: data, Err: tt.err})
			}
			time.AfterFunc(tt.lasts, end)
			entries, err := b.engine.journal.List(t.Context(), journal.Filter{CheckpointID: id})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.engine.Cancel(t.Context(), entries[0].ID, "alice"); err != nil {
				t.Fatal(err)
			}
			b.finish()
			d, err := b.engine.Operation(t.Context(), entries[0].ID)
			if err != nil || d.Status != "cancelled" || d.Reason != strings.ReplaceAll(tt.reason, "DATA", data) {
				t.Errorf("away for %v: %v, %s, %q, want cancelled, %q", tt.lasts, err, d.Status, d.Reason, tt.reason)
			}
			if left := slices.Contains(keys(t, b.bank), data); left != (tt.lasts == time.Hour) {
				t.Errorf("away for %v: the data are left: %v", tt.lasts, left)
			}
			end()
		})
	}
}

// The index.json of a checkpoint whose creation is refused may reach the bank all the
// same, after the worker has looked. Users find it, as one that failed.
func TestRefusedCheckpointThatArrives(t *testing.T) {
	t.Parallel()
	b := setup(t, kept(nil), nil)
	b.bank.Queue(banktest.Put, banktest.Fault{Err: errors.New("no answer"), Late: true})
	b.bank.Queue(banktest.Delete, slices.Repeat([]banktest.Fault{{Err: errors.New("no bank")}}, 4)...)
	_, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
	requireFault(t, err, "FlowError", "Flow: protect, Error: Error creating checkpoint")
	b.finish()
	found, err := b.provider.Checkpoints.List(b.ctx, checkpoint.ListOptions{ProjectID: project})
	if err != nil || len(found) != 1 || found[0].Status() != checkpoint.Error {
		t.Errorf("listed are %v, %v; want the one that was refused, in error", found, err)
	}
}
