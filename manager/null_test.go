// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
)

// Names of a plan and of instances are null where they were null.
func TestNullNamesInAndOut(t *testing.T) {
	t.Parallel()
	plan, err := decodePlan(json.RawMessage(`{"id": "p", "provider_id": "x", "name": null, "resources": [{"id": "1", "type": "t", "name": null}, {"id": "2", "type": "t", "name": ""}]}`), "missing", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !plan.Unnamed || !plan.Resources[0].Unnamed || plan.Resources[1].Unnamed {
		t.Errorf("read as %+v", plan)
	}
	text, err := json.Marshal([]instance{instanceOf(resource.New("t", "1", nil)), instanceOf(resource.Resource{Type: "t", ID: "2"})})
	if want := `[{"type":"t","id":"1","name":null,"extra_info":null},{"type":"t","id":"2","name":"","extra_info":null}]`; err != nil || string(text) != want {
		t.Errorf("answered as %s, %v", text, err)
	}
}
