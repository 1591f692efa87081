// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/karbor-project/karbor/pkg/resource"
)

// A server and its volume, found from a plan that names the server only.
func ExampleBuild() {
	server := resource.Resource{Type: resource.Server, ID: "s1", Name: "vm-1"}
	children := func(_ context.Context, parent resource.Resource) ([]resource.Resource, error) {
		if parent.Type != resource.Server {
			return nil, nil
		}
		zone := json.RawMessage(`{"availability_zone":"nova"}`)
		return []resource.Resource{{Type: resource.Volume, ID: "v1", Name: "vol-1", ExtraInfo: zone}}, nil
	}

	g, err := resource.Build(context.Background(), []resource.Resource{server}, children, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range g.Nodes() {
		fmt.Println(n.Key())
	}
	text, err := resource.Pack(g)
	fmt.Println(text, err)
	// Output:
	// OS::Cinder::Volume#v1
	// OS::Nova::Server#s1
	// [{"0x0": ["OS::Cinder::Volume", "v1", "vol-1", {"availability_zone": "nova"}], "0x1": ["OS::Nova::Server", "s1", "vm-1", null]}, [["0x1", ["0x0"]]]] <nil>
}
