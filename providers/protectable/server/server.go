// SPDX-License-Identifier: Apache-2.0

// Package server makes Nova's servers protectable.
package server

import (
	"context"
	"encoding/json"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// unfit are the statuses in which a server is not listed.
// karbor: services/protection/protectable_plugins/server.py
var unfit = []string{"DELETED", "ERROR", "UNKNOWN", "SOFT_DELETED", "RESCUED"}

// unprotectable are the statuses of a server in which Nova makes no image of it, or
// Cinder makes no backups of its volumes.
// nova: compute/api.py snapshot, cinder: backup/api.py create
var unprotectable = append([]string{"BUILD", "RESCUE", "SHELVED", "SHELVED_OFFLOADED"}, unfit...)

// Clients makes Nova clients for the caller of a context.
type Clients interface {
	Compute(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin lists the servers of the caller's project.
type Plugin struct{ clients Clients }

var _ protectable.Judge = (*Plugin)(nil)

// New returns the plugin.
func New(clients Clients) *Plugin { return &Plugin{clients: clients} }

// Type returns OS::Nova::Server.
func (*Plugin) Type() string { return resource.Server }

// ParentTypes returns the project.
func (*Plugin) ParentTypes() []string { return []string{resource.Project} }

// Server is a server as Nova describes it.
type Server struct {
	ID     string          `json:"id"`
	Name   *string         `json:"name"`
	Status string          `json:"status"`
	Image  json.RawMessage `json:"image"`
}

// ImageID returns the id of the image that the server was booted from, "" if that
// was a volume: Nova then shows an empty string in place of the object.
func (s Server) ImageID() string {
	var reference struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(s.Image, &reference) != nil {
		return ""
	}
	return reference.ID
}

func (s Server) resource() resource.Resource {
	return resource.New(resource.Server, s.ID, s.Name)
}

type listing struct{}

// All returns the servers of the caller's project, listed once per graph.
func All(ctx context.Context, clients Clients) ([]Server, error) {
	return protectable.Once(ctx, listing{}, func(ctx context.Context) ([]Server, error) {
		client, err := clients.Compute(ctx)
		if err != nil {
			return nil, err
		}
		return openstack.List[Server](ctx, client, "servers/detail", "servers", nil)
	})
}

// One returns a server.
func One(ctx context.Context, clients Clients, id string) (*Server, error) {
	client, err := clients.Compute(ctx)
	if err != nil {
		return nil, err
	}
	return openstack.Show[Server](ctx, client, "servers", id, "server")
}

// List returns the servers that are fit to be protected.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	servers, err := All(ctx, p.clients)
	if err != nil {
		return nil, protectable.ListFailed(resource.Server, err)
	}
	return p.statuses().Fit(ctx, servers, unfit, Server.resource), nil
}

// Unfit implements protectable.Judge.
func (p *Plugin) Unfit(ctx context.Context, servers []resource.Resource) (map[string]string, error) {
	return p.statuses().Unfit(ctx, servers, unprotectable)
}

func (p *Plugin) statuses() protectable.Statuses[Server] {
	return protectable.Statuses[Server]{
		Type: resource.Server,
		List: func(ctx context.Context) ([]Server, error) { return All(ctx, p.clients) },
		Show: func(ctx context.Context, id string) (*Server, error) { return One(ctx, p.clients, id) },
		Of:   func(s Server) (id, status string) { return s.ID, s.Status },
	}
}

// Show returns one server.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	return p.statuses().Get(ctx, id, unfit, Server.resource)
}

// Dependents returns the servers of the caller's project, whichever project the
// parent is, as the original does: Nova lists no other project's for a user.
func (p *Plugin) Dependents(ctx context.Context, _ resource.Resource) ([]resource.Resource, error) {
	return p.List(ctx, nil)
}
