// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/remark"
)

var remarked = remark.Document{Version: 1, Remarks: []remark.Remark{
	{Resource: remark.Resource{Type: "OS::Nova::Server", ID: "v1"}, Aspect: "key pair", Was: "mine", Why: "it is another user's"},
}}

func putRemarks(t *testing.T, cp *checkpoint.Checkpoint, d remark.Document) {
	t.Helper()
	if err := cp.PutRemarks(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func TestRemarksAreAnObjectOfTheCheckpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(checkpoint.Options{})
	cp := w.create(t)
	before := w.memory.Keys()
	putRemarks(t, cp, remark.Document{Version: 1})
	if diff := cmp.Diff(before, w.memory.Keys()); diff != "" {
		t.Errorf("without a remark (-want +got):\n%s", diff)
	}
	if d, err := cp.Remarks(t.Context()); err != nil || !d.Empty() {
		t.Errorf("without a remark: %v, %v", d, err)
	}
	putRemarks(t, cp, remarked)
	want := `{"version":1,"remarks":[{"resource":{"type":"OS::Nova::Server","id":"v1"},"aspect":"key pair","was":"mine","is":"","why":"it is another user's"}]}`
	if got := string(w.memory.Objects()["/checkpoints/cp-1/remarks.json"].Body); got != want {
		t.Errorf("stored\n%s\nwant\n%s", got, want)
	}
	d, err := w.get(t, "cp-1").Remarks(t.Context())
	if diff := cmp.Diff(remarked, d); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got := issues(t, w); len(got) != 1 || got[0].Kind != checkpoint.Unfinished {
		t.Errorf("the check finds %v", got)
	}
	set(t, cp, checkpoint.Deleting)
	if err := cp.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/checkpoints/cp-1/index.json"}, w.memory.Keys()); diff != "" {
		t.Errorf("after the deletion (-want +got):\n%s", diff)
	}
}

func TestRemarksThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"no JSON": "{", "another shape": `{"version":1,"remarks":3}`, "a later version": `{"version":2,"remarks":[]}`} {
		w := newWorld(checkpoint.Options{})
		cp := w.create(t)
		w.memory.Set("/checkpoints/cp-1/remarks.json", banktest.Stored{Body: []byte(text)})
		if _, err := cp.Remarks(t.Context()); !errors.Is(err, checkpoint.ErrRemarks) || !strings.Contains(err.Error(), "/checkpoints/cp-1/remarks.json") {
			t.Errorf("%s gives %v", name, err)
		}
	}
	w := newWorld(checkpoint.Options{})
	cp := w.create(t)
	w.faulty.Queue(banktest.Get, banktest.Fault{Err: errors.New("away")})
	if _, err := cp.Remarks(t.Context()); err == nil || errors.Is(err, checkpoint.ErrRemarks) {
		t.Errorf("an outage gives %v", err)
	}
}

// The signature covers the remarks: nobody can alter, remove or add them unseen.
func TestRemarksAreSigned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stored remark.Document
		alter  func(t *testing.T, w *world, key string)
		reason string // "": they are good
	}{
		"untouched": {remarked, func(*testing.T, *world, string) {}, ""},
		"altered": {remarked, func(_ *testing.T, w *world, key string) {
			w.memory.Set(key, banktest.Stored{Body: []byte(`{"version":1,"remarks":[]}`)})
		}, "it was altered"},
		"removed": {remarked, func(t *testing.T, w *world, key string) { w.remove(t, key) }, "it was removed"},
		"added": {remark.Document{}, func(_ *testing.T, w *world, key string) {
			w.memory.Set(key, banktest.Stored{Body: []byte(`{"version":1,"remarks":[]}`)})
		}, "it was added"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, cp := signedWorld(t)
			cp.RecordObjects(nil, kept{}.keep)
			write(t, cp, map[string]string{"metadata": "{}"})
			putRemarks(t, cp, c.stored)
			cp.Seal()
			set(t, cp, checkpoint.Available)
			key := "/checkpoints/" + cp.ID() + "/remarks.json"
			c.alter(t, w, key)
			cp = w.get(t, cp.ID())
			d, err := cp.Remarks(t.Context())
			if c.reason == "" {
				if diff := cmp.Diff(remarked, d); err != nil || diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			} else if !errors.Is(err, checkpoint.ErrRemarks) || !errors.Is(err, bank.ErrAltered) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%v, %v", d, err)
			}
			if err := section(t, cp).Check(t.Context()); err != nil {
				t.Errorf("the resource: %v", err)
			}
		})
	}
}

// Remarks without an index.json are orphaned data, alone or with others.
func TestOrphanedRemarks(t *testing.T) {
	t.Parallel()
	for _, others := range [][]string{nil, {"/checkpoints/lost/resource-data/r/metadata"}} {
		w := newWorld(checkpoint.Options{})
		w.put("/checkpoints/lost/remarks.json")
		for _, key := range others {
			w.put(key)
		}
		found := issues(t, w)
		if want := []checkpoint.Issue{{Kind: checkpoint.OrphanedData, ID: "lost"}}; !cmp.Equal(want, found) {
			t.Fatalf("found %v", found)
		}
		if done, err := w.Repair(t.Context(), found[0]); !done || err != nil {
			t.Errorf("repaired: %t, %v", done, err)
		}
		if left := w.memory.Keys(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if still, err := w.Confirm(t.Context(), found[0]); still || err != nil {
			t.Errorf("holds: %t, %v", still, err)
		}
	}
}
