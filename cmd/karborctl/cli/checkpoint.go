// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
	"github.com/karbor-project/karbor/pkg/resource"
)

func (a *App) checkpoint() *cobra.Command {
	return holder("checkpoint", "Protect resources, and look after what was protected",
		a.checkpointCreate(), a.checkpointList(), a.checkpointShow(), a.checkpointDelete(), a.checkpointReset(), a.checkpointCopy())
}

// checkpointView is a checkpoint as the workers show it.
type checkpointView struct {
	ID            string            `json:"id"`
	Status        checkpoint.Status `json:"status"`
	ProjectID     string            `json:"project_id"`
	CreatedAt     string            `json:"created_at"`
	ExtraInfo     json.RawMessage   `json:"extra_info"`
	ResourceGraph string            `json:"resource_graph"`
	Plan          struct {
		ID         string         `json:"id"`
		Name       string         `json:"name"`
		ProviderID string         `json:"provider_id"`
		Resources  []planResource `json:"resources"`
	} `json:"protection_plan"`
}

func (a *App) checkpointShow() *cobra.Command {
	return &cobra.Command{
		Use: "show PROVIDER CHECKPOINT", Short: "Show a checkpoint", Args: exactly("PROVIDER", "CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd, showCheckpoint(args[0], args[1]), checkpointFields)
		},
	}
}

func showCheckpoint(provider, id string) client.Request {
	return client.Request{Method: "show_checkpoint", Args: map[string]any{"provider_id": provider, "checkpoint_id": id}}
}

func checkpointFields(answer json.RawMessage) (*table.Table, error) {
	var v checkpointView
	if err := decode(answer, &v); err != nil {
		return nil, err
	}
	t := table.NewFields()
	t.Add("id", v.ID)
	t.Add("status", string(v.Status))
	t.Add("created_at", v.CreatedAt)
	t.Add("project_id", v.ProjectID)
	t.Add("plan_id", v.Plan.ID)
	t.Add("plan_name", v.Plan.Name)
	t.Add("provider_id", v.Plan.ProviderID)
	t.Add("extra_info", textOf(v.ExtraInfo))
	for _, line := range v.tree() {
		t.Add("resource", line)
	}
	return t, nil
}

// tree shows what the checkpoint holds: each resource with its dependents
// below it, once. Until there is a graph it shows the resources of the plan.
func (v *checkpointView) tree() []string {
	var lines []string
	graph, err := resource.Unpack(v.ResourceGraph)
	if err != nil || graph.Len() == 0 {
		for _, r := range v.Plan.Resources {
			lines = append(lines, resourceLine(0, r.Type, r.ID, r.Name))
		}
		return lines
	}
	type step struct {
		node  *resource.Node
		depth int
	}
	var next []step // the last one first
	add := func(nodes []*resource.Node, depth int) {
		for _, n := range slices.Backward(nodes) {
			next = append(next, step{n, depth})
		}
	}
	shown := map[*resource.Node]bool{}
	for add(graph.Roots, 0); len(next) > 0; {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		if shown[at.node] {
			continue
		}
		shown[at.node] = true
		lines = append(lines, resourceLine(min(at.depth, deepest), at.node.Type, at.node.ID, at.node.Name))
		add(at.node.Children, at.depth+1)
	}
	return lines
}

// deepest is how far a line is indented at most: of a graph that is deeper, the
// blanks alone would be megabytes.
const deepest = 16

// resourceLine leaves out a name that only repeats the id.
func resourceLine(depth int, resourceType, id, name string) string {
	if name == id {
		name = ""
	}
	return strings.TrimRight(strings.Repeat("  ", depth)+resourceType+" "+id+" "+name, " ")
}

// checkpointStatus is a look at a checkpoint that is waited for.
func checkpointStatus(s *session, provider, id string) func(context.Context) (json.RawMessage, string, error) {
	r := showCheckpoint(provider, id)
	r.Patient = true
	return func(ctx context.Context) (json.RawMessage, string, error) {
		answer, err := s.Call(ctx, r)
		if err != nil {
			return nil, "", err
		}
		var v checkpointView
		err = decode(answer, &v)
		return answer, string(v.Status), err
	}
}
