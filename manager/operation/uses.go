// SPDX-License-Identifier: Apache-2.0

package operation

import "github.com/karbor-project/karbor/pkg/resource"

// eachUse calls link for every two resources of the graph of which one uses the
// other by what its operation says. A resource without an operation uses none.
func (f *flow) eachUse(link func(user, used resource.Key)) {
	byType := map[string][]resource.Key{}
	for _, node := range f.graph.Nodes() {
		byType[node.Type] = append(byType[node.Type], node.Key())
	}
	for _, node := range f.graph.Nodes() {
		operation, err := f.operation(f.kind, node.Resource)
		if err != nil {
			continue
		}
		for _, used := range operation.Uses {
			for _, key := range byType[used] {
				if key != node.Key() {
					link(node.Key(), key)
				}
			}
		}
	}
}
