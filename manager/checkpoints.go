// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers"
)

// listCheckpoints answers a list of checkpoint.View: the caller's own project's,
// or with all_tenants those of all projects or of filters.project_id. Only an
// administrator's all_tenants counts.
func (m *Manager) listCheckpoints(ctx context.Context, a *arguments) (any, error) {
	a.spread("list_options")
	p, err := m.provider(a)
	if err != nil {
		return nil, err
	}
	caller := requestcontext.From(ctx)
	o := checkpoint.ListOptions{
		ProjectID:  caller.ProjectID,
		AllTenants: a.boolean("all_tenants") && caller.IsAdmin,
		Marker:     a.text("marker"),
		Limit:      a.limit("limit"),
		Descending: a.descending(),
	}
	filters := a.object("filters")
	if err := a.done(); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name  string
		field *string
	}{{"plan_id", &o.PlanID}, {"start_date", &o.StartDate}, {"end_date", &o.EndDate}} {
		if *f.field, err = filterText(filters, f.name); err != nil {
			return nil, err
		}
	}
	project, err := filterText(filters, "project_id")
	if err != nil {
		return nil, err
	}
	if o.AllTenants && project != "" {
		o.ProjectID, o.AllTenants = project, false
	}
	found, err := p.Checkpoints.List(ctx, o)
	if err != nil {
		return nil, err
	}
	views := make([]checkpoint.View, 0, len(found))
	for _, cp := range found {
		views = append(views, cp.View())
	}
	return views, nil
}

// descending reads sort_keys and sort_dirs. Checkpoints have one order, that of
// their creation; only its direction can be chosen.
func (a *arguments) descending() bool {
	a.texts("sort_keys")
	dirs := a.texts("sort_dirs")
	if len(dirs) == 0 {
		return false
	}
	dir := strings.ToLower(dirs[0])
	if !slices.Contains([]string{"asc", "desc"}, dir) {
		a.fail("sort_dirs", `"asc" or "desc"`, a.raw("sort_dirs"))
	}
	return dir == "desc"
}

// filterText reads a filter. karbor-api evaluates filters as Python literals
// before it sends them, so that an id of digits alone arrives as a number.
func filterText(filters map[string]json.RawMessage, name string) (string, error) {
	value := filters[name]
	if len(value) == 0 || string(value) == "null" {
		return "", nil
	}
	switch kindOf(value) {
	case "a string":
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return "", fault.InvalidInput("filter " + name + " is not a string")
		}
		return text, nil
	case "a number":
		return string(value), nil
	}
	return "", fault.InvalidInput("filter " + name + ": want a string, got " + kindOf(value))
}

// showCheckpoint answers a checkpoint.View. A deleted checkpoint is shown too.
func (m *Manager) showCheckpoint(ctx context.Context, a *arguments) (any, error) {
	p, id, err := m.checkpointArguments(a)
	if err != nil {
		return nil, err
	}
	cp, err := accessible(ctx, p, id)
	if err != nil {
		return nil, err
	}
	return cp.View(), nil
}

// accessible finds a checkpoint that the caller may touch.
func accessible(ctx context.Context, p *providers.Provider, id string) (*checkpoint.Checkpoint, error) {
	cp, err := p.Checkpoints.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !requestcontext.From(ctx).CanAccess(cp.ProjectID()) {
		return nil, fault.AccessCheckpointNotAllowed(id)
	}
	return cp, nil
}

// checkpointArguments reads the arguments of the methods that are about one
// checkpoint and take no others.
func (m *Manager) checkpointArguments(a *arguments) (*providers.Provider, string, error) {
	p, err := m.provider(a)
	if err != nil {
		return nil, "", err
	}
	id := a.required("checkpoint_id")
	return p, id, a.done()
}

// readable finds the checkpoint that a restore or a verification is to read.
func readable(ctx context.Context, p *providers.Provider, id string) (*checkpoint.Checkpoint, error) {
	cp, err := accessible(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if cp.Status() != checkpoint.Available {
		return nil, fault.CheckpointNotAvailable(id)
	}
	return cp, nil
}
