// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/rpc"
)

// show asks for the first party's checkpoint in a version of the API, as a worker does
// that a request has reached.
func (w *tenancy) show(t *testing.T, version string) string {
	t.Helper()
	dispatcher, err := rpc.NewDispatcher(w.m.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	request := requestOf(w.a.project)
	request.Method, request.Version = "show_checkpoint", version
	request.Args = rawMembers(map[string]any{"provider_id": tenantsProvider, "checkpoint_id": w.a.checkpoint})
	method, err := dispatcher.Resolve(request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := method.Handler(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Version 1.1 shows the remarks of a checkpoint, and 1.0 answers what it always has.
func TestRemarksAreShownInOnePointOne(t *testing.T) {
	t.Parallel()
	w := newTenancy(t)
	old := w.show(t, "1.0")
	whole, _ := strings.CutSuffix(old, "}") // with which 1.1 begins
	said := `[{"resource":{"type":"OS::Nova::Server","id":"s"},"aspect":"key pair","was":"mine","is":"","why":"gone"}]`
	for name, c := range map[string]struct{ object, want string }{
		"none":            {"", `"remarks":[]`},
		"one":             {`{"version":1,"remarks":` + said + `}`, `"remarks":` + said},
		"more than fit":   {`{"version":1,"remarks":` + said + `,"more":7}`, `"remarks":` + said + `,"more_remarks":7`},
		"cannot be read":  {`{`, `"remarks":[{"resource":{"type":"checkpoint","id":"` + w.a.checkpoint + `"},"aspect":"remarks","was":"","is":"not readable","why":"`},
		"a later version": {`{"version":9}`, `"aspect":"remarks","was":"","is":"not readable","why":"`},
	} {
		key := "/checkpoints/" + w.a.checkpoint + "/remarks.json"
		if c.object != "" {
			w.store.Set(key, banktest.Stored{Body: []byte(c.object)})
		}
		if diff := cmp.Diff(old, w.show(t, "1.0")); diff != "" {
			t.Errorf("%s: 1.0 answers otherwise (-want +got):\n%s", name, diff)
		}
		if got := w.show(t, "1.1"); !strings.HasPrefix(got, whole+",") || !strings.Contains(got, c.want) {
			t.Errorf("%s: 1.1 answers\n%s\nwithout %s", name, got, c.want)
		}
		if c.object != "" {
			if err := w.store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
}
