// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"strings"
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
		e, _, err := b.engine.journal.Begin(b.ctx, journal.Entry{ID: id, CheckpointID: id, Kind: string(protection.Protect), Claim: journal.Claim{Owner: "other"}})
		if err == nil && end {
			err = b.engine.journal.End(b.ctx, e.ID, e.Claim, journal.Failed, "", nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Who reads a checkpoint does not know who changes it.
	if e, _, err := b.engine.journal.Begin(b.ctx, journal.Entry{ID: "read", CheckpointID: "read", Kind: string(protection.Verify), Claim: journal.Claim{Owner: "other"}}); err != nil {
		t.Fatal(err)
	} else if err := b.engine.journal.End(b.ctx, e.ID, e.Claim, journal.Succeeded, "", nil); err != nil {
		t.Fatal(err)
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
		{leased, "read", "live", Attended},
		{leased, "ended", "gone", Abandoned},
		{leased, "idle", "", Unknown}, // written without an owner
		{b.provider, "idle", "gone", Unknown},
		{b.provider, "idle", own, Attended},
		{b.provider, "busy", "gone", Attended},
		{b.provider, "ended", "gone", Abandoned},
		{leased, "ended", "live", Abandoned}, // the owner of the checkpoint lives, and has no operation on it
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

// The checkpoint into which a copy goes can be neither deleted nor reset before the copy
// has ended, and neither can the one that is copied.
func TestBothEndsOfACopyAreInUse(t *testing.T) {
	t.Parallel()
	entered, goOn := make(chan struct{}), make(chan struct{})
	b := setup(t, onMain(protection.Copy, func(context.Context, *protection.Call) error {
		close(entered)
		<-goOn
		return nil
	}), nil, func(c *Config) { c.Patience = -1 })
	source := protected(t, b, volume)
	pairs, err := b.engine.Copy(b.ctx, Message{}, b.provider, planOf(volume), []*checkpoint.Checkpoint{source})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	for _, id := range []string{source.ID(), pairs[0].Copy} {
		if err := b.engine.Free(b.ctx, id); !errors.As(err, new(*journal.BusyError)) {
			t.Errorf("%s is free: %v", id, err)
		}
		err := b.engine.Delete(b.ctx, Message{}, b.provider, b.checkpoint(t, id))
		if err == nil || !strings.Contains(err.Error(), "is in use: a copy") {
			t.Errorf("the deletion of %s: %v", id, err)
		}
	}
	close(goOn)
	b.finish()
	for _, id := range []string{source.ID(), pairs[0].Copy} {
		if err := b.engine.Free(b.ctx, id); err != nil {
			t.Error(err)
		}
		if status := b.checkpoint(t, id).Status(); status != checkpoint.Available {
			t.Errorf("%s is %s", id, status)
		}
	}
}
