// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"errors"
	"io"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
)

// deletingOne is a checkpoint whose deletion is under way.
func deletingOne(t *testing.T, p bank.Plugin) (*checkpoint.Collection, *checkpoint.Checkpoint) {
	t.Helper()
	checkpoints := checkpoint.NewCollection(bank.New(p, nil), plan.ProviderID, checkpoint.Options{})
	cp, err := checkpoints.Create(t.Context(), checkpoint.CreateOptions{Plan: plan, Status: checkpoint.Available})
	if err == nil {
		err = cp.SetStatus(checkpoint.Deleting)
	}
	if err == nil {
		err = cp.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return checkpoints, cp
}

// A status that could not be written is in the way of no other.
func TestStatusIsJudgedByWhatIsWritten(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"the write fails": false, "its answer is lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faulty := banktest.NewFaulty(banktest.NewMemory())
			checkpoints, cp := deletingOne(t, faulty)
			faulty.Queue(banktest.Put, banktest.Fault{Err: errors.New("away"), Late: late})
			if err := cp.Delete(t.Context()); err == nil {
				t.Fatal("it is deleted")
			}
			err := cp.SetStatus(checkpoint.ErrorDeleting)
			if err == nil {
				err = cp.Commit(t.Context())
			}
			want := checkpoint.ErrorDeleting
			if late {
				want = checkpoint.Deleted
			}
			if errors.Is(err, checkpoint.ErrConflict) != late || !late && err != nil {
				t.Errorf("%v", err)
			}
			now, err := checkpoints.Get(t.Context(), cp.ID())
			if err != nil || now.Status() != want {
				t.Fatalf("%v, %v, want %s", now, err, want)
			}
			if late {
				if err := cp.Delete(t.Context()); err != nil {
					t.Errorf("the deletion cannot be completed: %v", err)
				}
			}
		})
	}
}

// A store that shows a document which we have replaced lags behind.
func TestLaggingStore(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	checkpoints := checkpoint.NewCollection(bank.New(memory, nil), plan.ProviderID, checkpoint.Options{})
	made, err := checkpoints.Create(t.Context(), checkpoint.CreateOptions{Plan: plan, Status: checkpoint.Available})
	if err != nil {
		t.Fatal(err)
	}
	cp, err := checkpoints.Get(t.Context(), made.ID())
	if err != nil {
		t.Fatal(err)
	}
	key := "/checkpoints/" + cp.ID() + "/index.json"
	o, err := memory.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	old, err := io.ReadAll(o.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := cp.SetStatus(checkpoint.Deleting); err != nil {
		t.Fatal(err)
	}
	if err := cp.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	memory.Set(key, banktest.Stored{Body: old, Serialized: bank.JSON})
	if err := cp.Delete(t.Context()); err != nil {
		t.Fatalf("the deletion cannot be completed: %v", err)
	}
	if now, err := checkpoints.Get(t.Context(), cp.ID()); err != nil || now.Status() != checkpoint.Deleted {
		t.Errorf("%v, %v", now, err)
	}
}
