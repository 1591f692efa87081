// SPDX-License-Identifier: Apache-2.0

package remark

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func TestRemarksAreTheReasonOfAnAvailableResource(t *testing.T) {
	t.Parallel()
	kept, remarks := &plugintest.Recorder{}, &List{}
	recorder := &Recorder{Next: kept, Remarks: remarks}
	update := func(status, reason string) {
		t.Helper()
		if err := recorder.Update(t.Context(), "type", "id", status, reason); err != nil {
			t.Fatal(err)
		}
	}
	update(protection.StatusAvailable, "")
	remarks.Add("the %s is gone", "key")
	remarks.Add("an address is taken")
	remarks.Add("the key is gone")
	update(protection.StatusRestoring, "")
	update(protection.StatusError, "it broke")
	update(protection.StatusAvailable, "")
	want := []plugintest.Record{
		{Type: "type", ID: "id", Status: protection.StatusAvailable},
		{Type: "type", ID: "id", Status: protection.StatusRestoring},
		{Type: "type", ID: "id", Status: protection.StatusError, Reason: "it broke"},
		{Type: "type", ID: "id", Status: protection.StatusAvailable, Reason: "an address is taken; the key is gone"},
	}
	if diff := cmp.Diff(want, kept.Records()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNobodyWantsTheStatus(t *testing.T) {
	t.Parallel()
	recorder := &Recorder{Remarks: &List{}}
	if err := recorder.Update(t.Context(), "type", "id", protection.StatusAvailable, ""); err != nil {
		t.Error(err)
	}
}
