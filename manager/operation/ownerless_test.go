// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// holders are the owners that have a lease.
type holders struct {
	bank.LeaseStore
	live string
}

func (h holders) Held(_ context.Context, owner string) (bool, error) { return owner == h.live, nil }

func TestAbandonment(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{}, nil)
	own := b.provider.Checkpoints.OwnerID()
	leased, err := providers.New(providers.Definition{ID: "leased", Plugins: []protection.Plugin{hookPlugin{}}, Bank: bank.New(banktest.NewMemory(),
		bank.NewLease(holders{live: "live"}, "worker", bank.DefaultLeaseWindows(), bank.Clock{Now: time.Now}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for id, end := range map[string]bool{"busy": false, "ended": true} {
		e, _, err := b.engine.journal.Begin(b.ctx, journal.Entry{ID: id, CheckpointID: id, Kind: "protect", Claim: journal.Claim{Owner: "other"}})
		if err == nil && end {
			err = b.engine.journal.End(b.ctx, e.ID, e.Claim, journal.Failed, "", nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		provider *providers.Provider
		id       string
		owner    string
		want     Abandonment
	}{
		{leased, "idle", "gone", Abandoned},
		{leased, "idle", "live", Attended},
		{leased, "busy", "gone", Attended},
		{leased, "ended", "gone", Abandoned},
		{leased, "idle", "", Unknown}, // written without an owner
		{b.provider, "idle", "gone", Unknown},
		{b.provider, "idle", own, Attended},
		{b.provider, "busy", "gone", Attended},
		{b.provider, "ended", "gone", Unknown},
	} {
		if got, err := b.engine.Abandonment(b.ctx, c.provider, c.id, c.owner); got != c.want || err != nil {
			t.Errorf("provider %s, checkpoint %s, owner %q: %d, %v, want %d", c.provider.ID, c.id, c.owner, got, err, c.want)
		}
	}
}

// When a checkpoint whose worker is gone cannot be deleted, it is not left in
// the status of that worker.
func TestDeleteOfOwnerlessFails(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{func(kind protection.Kind, _ resource.Resource) (*protection.Operation, error) {
		if kind == protection.Delete {
			return nil, errors.New("no such plugin")
		}
		return &protection.Operation{}, nil
	}}, nil)
	for before, want := range map[checkpoint.Status]checkpoint.Status{
		checkpoint.Protecting: checkpoint.Error, checkpoint.Copying: checkpoint.Error, checkpoint.WaitCopying: checkpoint.Error,
		checkpoint.Deleting: checkpoint.ErrorDeleting, checkpoint.Available: checkpoint.Available,
	} {
		made := protected(t, b, server)
		packed, _ := made.ResourceGraph()
		cp, err := b.provider.Checkpoints.Create(b.ctx, checkpoint.CreateOptions{Plan: made.Plan(), Status: before, ResourceGraph: packed})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.engine.Delete(b.ctx, Message{}, b.provider, cp); err == nil {
			t.Errorf("the deletion of one that is %s begins", before)
		}
		b.finish()
		if got := b.checkpoint(t, cp.ID()).Status(); got != want {
			t.Errorf("one that was %s is %s, want %s", before, got, want)
		}
	}
}
