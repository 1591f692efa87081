// SPDX-License-Identifier: Apache-2.0

package openstack_test

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

func ExampleFactory_Image() {
	factory := openstack.New(openstack.Config{}, nil)
	defer factory.Close()
	// karbor-api sends the caller's catalogue along with each request.
	ctx := requestcontext.New(context.Background(), &requestcontext.RequestContext{
		ProjectID: "p1",
		AuthToken: "token",
		ServiceCatalog: []requestcontext.Service{{
			Type:      "image",
			Endpoints: []requestcontext.Endpoint{{PublicURL: "http://glance.example:9292", Region: "RegionOne"}},
		}},
	})
	client, err := factory.Image(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.ServiceURL("images"))
	_, err = factory.BlockStorage(ctx)
	fmt.Println(err)
	// Output:
	// http://glance.example:9292/v2/images
	// Couldn't find the endpoint of service(cinder)
}
