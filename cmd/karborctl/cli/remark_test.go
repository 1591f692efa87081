// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/rpc"
)

// remarking is a plugin whose every operation remarks something.
type remarking struct{}

var _ protection.Plugin = remarking{}

func (remarking) Types() []string { return []string{resource.Volume} }
func (remarking) Schemas(string) protection.Schemas {
	return protection.Schemas{Restore: json.RawMessage(`{"properties": {"restore_name": {"type": "string"}}}`)}
}
func (remarking) Operation(kind protection.Kind, _ resource.Resource) (*protection.Operation, error) {
	remarks := func(_ context.Context, c *protection.Call) error {
		c.Remark(remark.Remark{Aspect: "zone", Was: "az1", Is: "az2", Why: "during " + string(kind)})
		return nil
	}
	plan := func(ctx context.Context, c *protection.Call) (map[string]string, error) {
		name, given := c.Parameters.String("restore_name")
		switch {
		case name == "bad":
			return nil, fault.InvalidInput("that is no name")
		case !given:
			return nil, nil
		}
		return map[string]string{"size": "1", "name": name}, remarks(ctx, c)
	}
	return &protection.Operation{Main: remarks, Plan: plan}, nil
}

// What hooks have remarked is shown below a checkpoint, below an operation and at the end
// of a wait, and is in the JSON of them.
func TestRemarksAreShown(t *testing.T) {
	t.Parallel()
	setup := service.Builtin()
	setup.Plugins.Register([]string{"remarking"}, nil, func(*config.Config, protection.Deps) (protection.Plugin, error) { return remarking{}, nil })
	c := newTool(t, endpointsWith(t, setup, "remarking")...)
	below := func(kind string) string {
		return "\n\nRESOURCE               ASPECT  WAS  IS   WHY\nOS::Cinder::Volume v1  zone    az1  az2  during " + kind + "\n"
	}
	create := []string{"checkpoint", "create", testProvider, "--resource", "volume=v1", "--wait"}
	made := c.must(t, create...)
	id := strings.TrimSpace(c.must(t, "checkpoint", "list", testProvider, "-f", "value", "-c", "id"))
	if shown := c.must(t, "checkpoint", "show", testProvider, id); shown != made || !strings.HasSuffix(shown, below("protect")) {
		t.Errorf("create printed\n%s\nand show\n%s", made, shown)
	}
	if got := c.must(t, "checkpoint", "show", testProvider, id, "-f", "value", "-c", "status"); got != "available\n" {
		t.Errorf("one column: %q", got)
	}
	for format, shown := range map[string]bool{"value": false, "csv": false, "yaml": true} {
		if got := c.must(t, "checkpoint", "show", testProvider, id, "-f", format); strings.Contains(got, "during protect") != shown {
			t.Errorf("-f %s printed\n%s", format, got)
		}
	}
	const planned = "TYPE                ID  NAME  MAKES             ERROR\nOS::Cinder::Volume  v1  v1    name=back size=1"
	if got := c.must(t, "restore", testProvider, id, "--dry-run", "--parameter", "volume:restore_name=back"); got != planned+below("restore") {
		t.Errorf("the plan is printed as\n%s", got)
	}
	got := c.run(t.Context(), "restore", testProvider, id, "--dry-run", "--parameter", "volume:restore_name=bad")
	if got.code == ExitOK || !strings.Contains(got.out, "that is no name") || !strings.Contains(got.err, "1 of 1 resources could not be restored") {
		t.Errorf("the plan of what cannot be is printed as %+v", got)
	}
	if got := c.must(t, "operation", "list", "--type", "restore", "-f", "value"); got != "" {
		t.Errorf("a plan has started %s", got)
	}
	for _, action := range []string{"restore", "verify"} {
		if got := c.must(t, action, testProvider, id, "--wait"); !strings.HasSuffix(got, below(action)) {
			t.Errorf("%s printed\n%s", action, got)
		}
	}
	operation := strings.TrimSpace(c.must(t, "operation", "list", "--type", "verify", "-f", "value", "-c", "id"))
	if got := c.must(t, "operation", "show", operation); !strings.HasSuffix(got, below("verify")) {
		t.Errorf("operation show printed\n%s", got)
	}
	for command, kind := range map[string]string{
		strings.Join(create, " "):                        "protect",
		"checkpoint show " + testProvider + " " + id:     "protect",
		"restore " + testProvider + " " + id + " --wait": "restore",
		"verify " + testProvider + " " + id + " --wait":  "verify",
		"operation show " + operation:                    "verify",
	} {
		var answer struct{ Remarks []remark.Remark }
		if err := json.Unmarshal([]byte(c.must(t, append(strings.Fields(command), "-f", "json")...)), &answer); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		want := []remark.Remark{{Resource: remark.Resource{Type: resource.Volume, ID: "v1"}, Aspect: "zone", Was: "az1", Is: "az2", Why: "during " + kind}}
		if diff := cmp.Diff(want, answer.Remarks); diff != "" {
			t.Errorf("%s (-want +got):\n%s", command, diff)
		}
	}
}

func TestMoreRemarksThanFit(t *testing.T) {
	t.Parallel()
	c := newTool(t, rpc.Endpoint{Version: "1.1", Methods: map[string]rpc.Method{
		"list_providers": {Handler: func(context.Context, *rpc.Request) (any, error) { return []any{map[string]any{"id": "p"}}, nil }},
		"show_checkpoint": {Handler: func(context.Context, *rpc.Request) (any, error) {
			return map[string]any{"id": "c1", "resource_graph": "[{}, []]", "remarks": []any{}, "more_remarks": 7}, nil
		}},
	}})
	if got := c.must(t, "checkpoint", "show", "p", "c1"); !strings.HasSuffix(got, "RESOURCE  ASPECT        WAS  IS  WHY\n          about 7 more\n") {
		t.Errorf("printed\n%s", got)
	}
}
