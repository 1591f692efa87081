// SPDX-License-Identifier: Apache-2.0

// Package server makes Nova's servers protectable.
package server

import (
	"context"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// unfit are the statuses in which a server is not listed.
// karbor: services/protection/protectable_plugins/server.py
var unfit = []string{"DELETED", "ERROR", "UNKNOWN", "SOFT_DELETED", "RESCUED"}

// Clients makes Nova clients for the caller of a context.
type Clients interface {
	Compute(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin lists the servers of the caller's project.
type Plugin struct{ clients Clients }

var _ protectable.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(clients Clients) *Plugin { return &Plugin{clients: clients} }

// Type returns OS::Nova::Server.
func (*Plugin) Type() string { return resource.Server }

// ParentTypes returns the project.
func (*Plugin) ParentTypes() []string { return []string{resource.Project} }

type server struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
}

func (s server) resource() resource.Resource {
	return resource.Resource{Type: resource.Server, ID: s.ID, Name: s.Name}
}

// List returns the servers that are fit to be protected.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	client, err := p.clients.Compute(ctx)
	if err != nil {
		return nil, protectable.ListFailed(resource.Server, err)
	}
	servers, err := openstack.List[server](ctx, client, "servers/detail", "servers", nil)
	if err != nil {
		return nil, protectable.ListFailed(resource.Server, err)
	}
	found := []resource.Resource{}
	for _, s := range servers {
		if !slices.Contains(unfit, s.Status) {
			found = append(found, s.resource())
		}
	}
	return found, nil
}

// Show returns one server.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	client, err := p.clients.Compute(ctx)
	if err != nil {
		return nil, protectable.ShowFailed(resource.Server, id, err)
	}
	s, err := openstack.Show[server](ctx, client, "servers", id, "server")
	if err != nil {
		return nil, protectable.ShowFailed(resource.Server, id, err)
	}
	if err := protectable.CheckStatus(resource.Server, id, s.Status, unfit); err != nil {
		return nil, err
	}
	r := s.resource()
	return &r, nil
}

// Dependents returns the servers of the caller's project, whichever project the
// parent is, as the original does: Nova lists no other project's for a user.
func (p *Plugin) Dependents(ctx context.Context, _ resource.Resource) ([]resource.Resource, error) {
	return p.List(ctx, nil)
}
