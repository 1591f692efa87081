// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/workflow"
	"github.com/karbor-project/karbor/providers/protection"
)

// Planned says what a restore would make of a resource.
type Planned struct {
	Type  string            `json:"resource_type"`
	ID    string            `json:"resource_id"`
	Name  *string           `json:"resource_name"`
	Makes map[string]string `json:"makes"` // in the service's terms
	Error string            `json:"error"` // why the resource cannot be restored, or ""
}

// Plan asks for each resource what a restore of the checkpoint would make of it, in the order in
// which the restore would complete the resources, and changes nothing. Differences from the
// original resource go to remarks. Plan fails only if ctx ends.
func (f *Flow) Plan(ctx context.Context, remarks protection.Remarks) ([]Planned, error) {
	p := *f
	p.Kind, p.NewResources, p.Copied, p.Status, p.tasks = protection.Restore, &protection.NewResources{}, nil, nil, nil
	var mu sync.Mutex
	planned := []Planned{}
	g := workflow.New()
	tasks := make(map[resource.Key]workflow.ID, p.Graph.Len())
	nodes := p.Graph.Nodes()
	for _, node := range nodes {
		tasks[node.Key()] = g.Add(workflow.Task{Name: "plan_" + node.Key().String(), Run: func(ctx context.Context) error {
			one := Planned{Type: node.Type, ID: node.ID, Name: node.NameOrNull()}
			makes, err := p.plan(ctx, node.Resource, remarks)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			one.Makes = makes
			if err != nil {
				one.Error = failure.Cut(cmp.Or(fault.From(err).Message(), failure.Describe(err)))
			}
			mu.Lock()
			defer mu.Unlock()
			planned = append(planned, one)
			return nil
		}})
	}
	for _, node := range nodes {
		for _, child := range node.Children {
			g.Link(tasks[child.Key()], tasks[node.Key()])
		}
	}
	for _, u := range p.uses() {
		linkAll(g, u.used, u.users, func(key resource.Key) workflow.ID { return tasks[key] })
	}
	if err := workflow.Run(ctx, g, workflow.Options{Workers: plansAtATime}); err != nil {
		return nil, err
	}
	slices.SortFunc(planned, func(a, b Planned) int { return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID)) })
	return planned, nil
}

// plansAtATime is the number of resources that are planned concurrently.
const plansAtATime = 8

// plan asks the plugin of one resource. A resource that can be restored is then added to the new
// resources, for resources that are restored after it.
func (f *Flow) plan(ctx context.Context, r resource.Resource, remarks protection.Remarks) (map[string]string, error) {
	operation, err := f.operation(protection.Restore, r)
	if err != nil {
		return nil, err
	}
	var makes map[string]string
	if operation.Plan != nil {
		section, err := f.Checkpoint.Section(r.ID)
		if err != nil {
			section = nil // the call of a hook does the same
		}
		c := &protection.Call{Resource: r, Checkpoint: f.Checkpoint, Section: section, Graph: f.Graph, NewResources: f.NewResources,
			Remarks: remarks, Log: f.Log}
		if f.Parameters != nil {
			c.Parameters = f.Parameters(r)
		}
		if makes, err = operation.Plan(ctx, c); err != nil {
			return nil, err
		}
	}
	f.NewResources.Set(r.ID, r.ID)
	return makes, nil
}
