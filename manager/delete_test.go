// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
)

// oneLease is a store in which the owner of the checkpoints has a lease, or not.
type oneLease struct {
	held bool
	err  error
}

func (oneLease) Acquire(context.Context, string, time.Duration) error { return nil }
func (oneLease) Renew(context.Context, string, time.Duration) error   { return nil }
func (oneLease) Release(context.Context, string) error                { return nil }
func (l oneLease) Held(context.Context, string) (bool, error)         { return l.held, l.err }

// noRecords are tables that take everything.
type noRecords struct{ operation.Records }

func (noRecords) CreateOperationLog(context.Context, *database.OperationLog) (string, error) {
	return "", nil
}
func (noRecords) GetOperationLog(context.Context, string) (*database.OperationLog, error) {
	return nil, errors.ErrUnsupported
}
func (noRecords) UpdateOperationLog(context.Context, string, database.OperationLogUpdate) error {
	return nil
}

// A checkpoint in a status in which an operation is at work on it can be
// deleted and reset if its owner is known to be gone.
func TestOwnerless(t *testing.T) {
	t.Parallel()
	errAway := errors.New("the store is away")
	for _, c := range []struct {
		name    string
		lease   *oneLease
		journal journal.State // of the operation that it has on the checkpoint; "": none
		ok      bool
	}{
		{"owner gone", &oneLease{}, "", true},
		{"owner lives", &oneLease{held: true}, "", false},
		{"operation goes on", &oneLease{}, journal.Queued, false},
		{"operation has ended and owner lives", &oneLease{held: true}, journal.Ended, true},
		{"unknown whether the owner lives", &oneLease{err: errAway}, "", false},
		{"no leases", nil, "", false},
		{"no leases, operation has ended", nil, journal.Ended, true},
	} {
		for _, status := range []checkpoint.Status{checkpoint.Protecting, checkpoint.Copying, checkpoint.WaitCopying, checkpoint.Deleting} {
			t.Run(fmt.Sprint(c.name, " ", status), func(t *testing.T) {
				t.Parallel()
				store := banktest.NewMemory()
				var lease *bank.Lease
				if c.lease != nil {
					lease = bank.NewLease(c.lease, "this worker", bank.DefaultLeaseWindows(), bank.Clock{}, nil)
				}
				p, err := providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{noop.New()}, Bank: bank.New(store, lease)})
				if err != nil {
					t.Fatal(err)
				}
				kept := journaltest.NewMemory(nil)
				engine := operation.New(operation.Config{Journal: kept, Records: noRecords{}, Patience: -1})
				t.Cleanup(func() {
					engine.Stop(context.Background())
					if err := p.Close(); err != nil {
						t.Error(err)
					}
				})
				m := New(Config{Providers: providers.NewRegistry(p), Operations: engine})
				ctx := requestcontext.New(t.Context(), &requestcontext.RequestContext{ProjectID: "project"})
				for _, id := range []string{"to-delete", "to-reset"} {
					// Another instance of the bank, with another owner id.
					dead := checkpoint.NewCollection(bank.New(dead{store}, nil), "provider", checkpoint.Options{})
					if _, err := dead.Create(ctx, checkpoint.CreateOptions{ID: id, Status: status,
						Plan: checkpoint.Plan{ID: "plan", ProviderID: "provider", ProjectID: "project"}}); err != nil {
						t.Fatal(err)
					}
					if c.journal != "" {
						e, _, err := kept.Begin(ctx, journal.Entry{ID: id, Subject: id, Exclusive: true, Kind: "protect", CheckpointID: id,
							Claim: journal.Claim{Owner: "other"}})
						if err == nil && c.journal == journal.Ended {
							err = kept.End(ctx, id, e.Claim, journal.Failed, "", nil)
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				}
				now := func(id string) checkpoint.Status {
					t.Helper()
					cp, err := p.Checkpoints.Get(ctx, id)
					if err != nil {
						t.Fatal(err)
					}
					return cp.Status()
				}
				judge := func(err error, refusal string, ok bool) {
					t.Helper()
					if ok && err != nil || !ok && !fault.Is(err, refusal) {
						t.Errorf("got %v, want %s: %t", err, refusal, !ok)
					}
				}
				_, err = m.delete(ctx, argumentsOf(t, `{"provider_id": "provider", "checkpoint_id": "to-delete"}`))
				judge(err, "CheckpointNotBeDeleted", c.ok)
				_, err = m.resetState(ctx, argumentsOf(t, `{"provider_id": "provider", "checkpoint_id": "to-reset", "state": "error"}`))
				// As in the original a copy can be reset, unless its operation goes on.
				resets := c.ok || c.journal == "" && (status == checkpoint.Copying || status == checkpoint.WaitCopying)
				judge(err, "CheckpointNotBeReset", resets)
				for running, waiting := engine.Running(); running+waiting > 0; running, waiting = engine.Running() {
					time.Sleep(time.Millisecond)
				}
				wantDeleted, wantReset := status, status
				if c.ok {
					wantDeleted = checkpoint.Deleted
				}
				if resets {
					wantReset = checkpoint.Error
				}
				if deleted, reset := now("to-delete"), now("to-reset"); deleted != wantDeleted || reset != wantReset {
					t.Errorf("the statuses are %s and %s, want %s and %s", deleted, reset, wantDeleted, wantReset)
				}
			})
		}
	}
}

// dead is the bank of a worker that is gone.
type dead struct{ bank.Plugin }

func (dead) OwnerID() string { return "dead" }

// Whatever is asked about one checkpoint that cannot be read gets one error, which
// names it. An outage is not taken for a wrong id.
func TestUnusableCheckpoint(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{
		"unusable": fmt.Errorf("%w: permission denied", bank.ErrUnusable), "outage": errors.New("the store is away"),
	} {
		faulty := banktest.NewFaulty(banktest.NewMemory())
		p, err := providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{noop.New()}, Bank: bank.New(faulty, nil)})
		if err != nil {
			t.Fatal(err)
		}
		engine := operation.New(operation.Config{Journal: journaltest.NewMemory(nil), Records: noRecords{}})
		t.Cleanup(func() {
			engine.Stop(context.Background())
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		m := New(Config{Providers: providers.NewRegistry(p), Operations: engine})
		ctx := requestcontext.New(t.Context(), &requestcontext.RequestContext{ProjectID: "project"})
		if _, err := p.Checkpoints.Create(ctx, checkpoint.CreateOptions{ID: "c", Status: checkpoint.Available,
			Plan: checkpoint.Plan{ID: "plan", ProviderID: "provider", ProjectID: "project"}}); err != nil {
			t.Fatal(err)
		}
		faulty.Spoil("/checkpoints/c/index.json", cause)
		const one = `"provider_id": "provider", "checkpoint_id": "c"`
		for method, call := range map[string]func() (any, error){
			"show":   func() (any, error) { return m.showCheckpoint(ctx, argumentsOf(t, "{"+one+"}")) },
			"delete": func() (any, error) { return m.delete(ctx, argumentsOf(t, "{"+one+"}")) },
			"reset":  func() (any, error) { return m.resetState(ctx, argumentsOf(t, `{"state": "error", `+one+"}")) },
			"restore": func() (any, error) {
				return m.restore(ctx, argumentsOf(t, `{"restore": {"id": "r", `+one+"}}"))
			},
			"verify": func() (any, error) {
				return m.verification(ctx, argumentsOf(t, `{"verification": {"id": "v", `+one+"}}"))
			},
		} {
			if _, err := call(); !fault.Is(err, "BankGetObjectFailed") || !strings.Contains(err.Error(), "/checkpoints/c/index.json") {
				t.Errorf("%s, %s gives %v", name, method, err)
			}
		}
		if _, err := m.delete(ctx, argumentsOf(t, `{"provider_id": "provider", "checkpoint_id": "nix"}`)); !fault.Is(err, "InvalidInput") {
			t.Errorf("delete of none gives %v", err)
		}
	}
}
