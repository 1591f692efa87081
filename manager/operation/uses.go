// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"maps"
	"slices"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/workflow"
)

// use is a type of resources in a graph, and those that use it.
type use struct{ users, used []resource.Key }

// uses lists what the resources of the graph use by what their operations say. A
// resource without an operation uses nothing, and none uses its own type.
func (f *flow) uses() []use {
	byType := map[string]*use{}
	of := func(resourceType string) *use {
		if byType[resourceType] == nil {
			byType[resourceType] = &use{}
		}
		return byType[resourceType]
	}
	for _, node := range f.graph.Nodes() {
		own := of(node.Type)
		own.used = append(own.used, node.Key())
		operation, err := f.operation(f.kind, node.Resource)
		if err != nil {
			continue
		}
		for _, used := range operation.Uses {
			if used != node.Type {
				u := of(used)
				u.users = append(u.users, node.Key())
			}
		}
	}
	var list []use
	for _, resourceType := range slices.Sorted(maps.Keys(byType)) {
		if u := byType[resourceType]; len(u.users) > 0 && len(u.used) > 0 {
			list = append(list, *u)
		}
	}
	return list
}

// linkAll makes every task of after wait for every task of before. A barrier
// between them takes as many links as there are tasks: a thousand servers on a
// hundred thousand networks would have 10^8 links of their own.
func linkAll(g *workflow.Graph, before, after []resource.Key, task func(resource.Key) workflow.ID) {
	barrier := g.Add(workflow.Task{Name: "barrier"})
	for _, key := range before {
		g.Link(task(key), barrier)
	}
	for _, key := range after {
		g.Link(barrier, task(key))
	}
}
