// SPDX-License-Identifier: Apache-2.0

package protectable_test

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protectable/project"
)

func ExampleRegistry_Graph() {
	registry := protectable.NewRegistry(protectable.Options{}, project.New())
	ctx := requestcontext.New(context.Background(), &requestcontext.RequestContext{ProjectID: "p1", ProjectName: "demo"})
	plugin, err := registry.Get(resource.Project)
	if err != nil {
		fmt.Println(err)
		return
	}
	mine, err := plugin.List(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	graph, _, err := registry.Graph(ctx, mine, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, node := range graph.Nodes() {
		fmt.Println(node.Key(), node.Name)
	}
	// Output: OS::Keystone::Project#p1 demo
}
