// SPDX-License-Identifier: Apache-2.0

// Package network makes the network topology of a project protectable, as one
// resource that has the project's id.
package network

import (
	"context"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// name is the name of every topology.
// karbor: services/protection/protectable_plugins/network.py
const name = "Network Topology"

// Clients makes Neutron clients for the caller of a context.
type Clients interface {
	Network(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin shows the topology of a project that has any network.
type Plugin struct{ clients Clients }

var _ protectable.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(clients Clients) *Plugin { return &Plugin{clients: clients} }

// Type returns OS::Neutron::Network.
func (*Plugin) Type() string { return resource.Network }

// ParentTypes returns the project.
func (*Plugin) ParentTypes() []string { return []string{resource.Project} }

// List returns the topology of the caller's project.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	return p.topology(ctx, requestcontext.From(ctx).ProjectID)
}

// Show returns the topology of the caller's project, and nil for any other id.
// It fails as List does, like the original.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	if id != requestcontext.From(ctx).ProjectID {
		return nil, nil
	}
	found, err := p.topology(ctx, id)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Dependents returns the topology of a project.
func (p *Plugin) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	return p.topology(ctx, parent.ID)
}

func (p *Plugin) topology(ctx context.Context, projectID string) ([]resource.Resource, error) {
	has, err := p.hasNetworks(ctx, projectID)
	if err != nil {
		return nil, protectable.ListFailed(resource.Network, err)
	}
	if !has {
		return []resource.Resource{}, nil
	}
	return []resource.Resource{{Type: resource.Network, ID: projectID, Name: name}}, nil
}

// few is up to how many projects are asked for one by one.
const few = 8

type network struct {
	ProjectID string `json:"project_id"`
}

type ownersListing struct{}

// hasNetworks reports whether a project has networks. All projects of a plan share one
// listing of the networks that the caller sees.
func (p *Plugin) hasNetworks(ctx context.Context, projectID string) (bool, error) {
	client, err := p.clients.Network(ctx)
	if err != nil {
		return false, err
	}
	if protectable.Starts(ctx, resource.Project) <= few {
		// One network is enough to know, so one is asked for.
		query := url.Values{"project_id": {projectID}, "fields": {"id"}, "limit": {"1"}}
		found, _, err := openstack.Page[network](ctx, client, "networks", "networks", query.Encode())
		return len(found) > 0, err
	}
	owners, err := protectable.Once(ctx, ownersListing{}, func(ctx context.Context) (map[string]bool, error) {
		found, err := openstack.List[network](ctx, client, "networks", "networks", url.Values{"fields": {"project_id"}})
		owners := make(map[string]bool, len(found))
		for _, n := range found {
			owners[n.ProjectID] = true
		}
		return owners, err
	})
	return owners[projectID], err
}
