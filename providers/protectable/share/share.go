// SPDX-License-Identifier: Apache-2.0

// Package share makes Manila's shares protectable.
package share

import (
	"context"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// unfit are the statuses in which a share is not listed.
// karbor: services/protection/protectable_plugins/share.py
var unfit = []string{
	"deleting", "deleted", "error", "error_deleting", "manage_error", "unmanage_error",
	"extending_error", "shrinking_error", "reverting_error",
}

// Clients makes Manila clients for the caller of a context.
type Clients interface {
	Share(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin lists the shares that the caller sees.
type Plugin struct{ clients Clients }

var _ protectable.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(clients Clients) *Plugin { return &Plugin{clients: clients} }

// Type returns OS::Manila::Share.
func (*Plugin) Type() string { return resource.Share }

// ParentTypes returns the project.
func (*Plugin) ParentTypes() []string { return []string{resource.Project} }

type share struct {
	ID        string  `json:"id"`
	Name      *string `json:"name"`
	Status    string  `json:"status"`
	ProjectID string  `json:"project_id"`
}

func (s share) resource() resource.Resource {
	return resource.New(resource.Share, s.ID, s.Name)
}

// List returns the shares that are fit to be protected.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	return p.list(ctx, func(s share) bool { return !slices.Contains(unfit, s.Status) })
}

type listing struct{}

func (p *Plugin) list(ctx context.Context, wanted func(share) bool) ([]resource.Resource, error) {
	shares, err := protectable.Once(ctx, listing{}, func(ctx context.Context) ([]share, error) {
		client, err := p.clients.Share(ctx)
		if err != nil {
			return nil, err
		}
		return openstack.List[share](ctx, client, "shares/detail", "shares", nil)
	})
	if err != nil {
		return nil, protectable.ListFailed(resource.Share, err)
	}
	found := []resource.Resource{}
	for _, s := range shares {
		if wanted(s) {
			found = append(found, s.resource())
		}
	}
	return found, nil
}

// Show returns one share.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	client, err := p.clients.Share(ctx)
	if err != nil {
		return nil, protectable.ShowFailed(resource.Share, id, err)
	}
	s, err := openstack.Show[share](ctx, client, "shares", id, "share")
	if err != nil {
		return nil, protectable.ShowFailed(resource.Share, id, err)
	}
	if err := protectable.CheckStatus(resource.Share, id, s.Status, unfit); err != nil {
		return nil, err
	}
	r := s.resource()
	return &r, nil
}

// Dependents returns the shares of a project, fit or not: a checkpoint of the
// project must not leave one out in silence.
func (p *Plugin) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	return p.list(ctx, func(s share) bool { return s.ProjectID == parent.ID })
}
