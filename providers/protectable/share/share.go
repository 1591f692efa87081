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

// unprotectable are the statuses in which Manila makes no snapshots, and that do not pass
// by themselves.
// manila: common/constants.py, share/api.py create_snapshot
var unprotectable = append([]string{
	"shrinking_possible_data_loss_error", "backup_restoring_error", "unmanaged", "inactive", "awaiting_transfer",
}, unfit...)

// Clients makes Manila clients for the caller of a context.
type Clients interface {
	Share(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin lists the shares that the caller sees.
type Plugin struct{ clients Clients }

var _ protectable.Judge = (*Plugin)(nil)

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
	shares, err := p.shares(ctx)
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

// shares lists all shares once per graph.
func (p *Plugin) shares(ctx context.Context) ([]share, error) {
	return protectable.Once(ctx, listing{}, func(ctx context.Context) ([]share, error) {
		client, err := p.clients.Share(ctx)
		if err != nil {
			return nil, err
		}
		return openstack.List[share](ctx, client, "shares/detail", "shares", nil)
	})
}

// Unfit implements protectable.Judge.
func (p *Plugin) Unfit(ctx context.Context, shares []resource.Resource) (map[string]string, error) {
	return p.statuses().Unfit(ctx, shares, unprotectable)
}

func (p *Plugin) statuses() protectable.Statuses[share] {
	return protectable.Statuses[share]{
		Type: resource.Share, List: p.shares, Show: p.show, Of: func(s share) (id, status string) { return s.ID, s.Status },
	}
}

func (p *Plugin) show(ctx context.Context, id string) (*share, error) {
	client, err := p.clients.Share(ctx)
	if err != nil {
		return nil, err
	}
	return openstack.Show[share](ctx, client, "shares", id, "share")
}

// Show returns one share.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	return p.statuses().Get(ctx, id, unfit, share.resource)
}

// Dependents returns the shares of a project, fit or not: a checkpoint of the
// project must not leave one out in silence.
func (p *Plugin) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	return p.list(ctx, func(s share) bool { return s.ProjectID == parent.ID })
}
