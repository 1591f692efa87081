// SPDX-License-Identifier: Apache-2.0

// Package database makes Trove's instances protectable.
package database

import (
	"cmp"
	"context"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// unfit are the statuses in which an instance is not listed.
// karbor: services/protection/protectable_plugins/database.py
var unfit = []string{"BUILD", "REBOOT", "RESIZE", "ERROR"}

// unprotectable are the statuses in which Trove makes no backup, now or later.
// trove: instance/models.py
var unprotectable = append([]string{"BLOCKED", "FAILED", "SHUTDOWN", "RESTART_REQUIRED"}, unfit...)

// Clients makes Trove clients for the caller of a context.
type Clients interface {
	Database(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin lists the database instances of the caller's project.
type Plugin struct{ clients Clients }

var _ protectable.Judge = (*Plugin)(nil)

// New returns the plugin.
func New(clients Clients) *Plugin { return &Plugin{clients: clients} }

// Type returns OS::Trove::Instance.
func (*Plugin) Type() string { return resource.Database }

// ParentTypes returns the project.
func (*Plugin) ParentTypes() []string { return []string{resource.Project} }

type instance struct {
	ID        string  `json:"id"`
	Name      *string `json:"name"`
	Status    string  `json:"status"`
	ProjectID string  `json:"project_id"`
	TenantID  string  `json:"tenant_id"`
}

func (i instance) resource() resource.Resource {
	return resource.New(resource.Database, i.ID, i.Name)
}

// List returns the instances that are fit to be protected.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	return p.list(ctx, func(instance) bool { return true })
}

type listing struct{}

func (p *Plugin) list(ctx context.Context, wanted func(instance) bool) ([]resource.Resource, error) {
	instances, err := p.instances(ctx)
	if err != nil {
		return nil, protectable.ListFailed(resource.Database, err)
	}
	instances = slices.DeleteFunc(slices.Clone(instances), func(i instance) bool { return !wanted(i) })
	return p.statuses().Fit(ctx, instances, unfit, instance.resource), nil
}

// instances lists all instances once per graph.
func (p *Plugin) instances(ctx context.Context) ([]instance, error) {
	return protectable.Once(ctx, listing{}, func(ctx context.Context) ([]instance, error) {
		client, err := p.clients.Database(ctx)
		if err != nil {
			return nil, err
		}
		return openstack.List[instance](ctx, client, "instances", "instances", nil)
	})
}

// Unfit implements protectable.Judge.
func (p *Plugin) Unfit(ctx context.Context, instances []resource.Resource) (map[string]string, error) {
	return p.statuses().Unfit(ctx, instances, unprotectable)
}

func (p *Plugin) statuses() protectable.Statuses[instance] {
	return protectable.Statuses[instance]{
		Type: resource.Database, List: p.instances, Show: p.show, Of: func(i instance) (id, status string) { return i.ID, i.Status },
	}
}

func (p *Plugin) show(ctx context.Context, id string) (*instance, error) {
	client, err := p.clients.Database(ctx)
	if err != nil {
		return nil, err
	}
	return openstack.Show[instance](ctx, client, "instances", id, "instance")
}

// Show returns one instance.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	return p.statuses().Get(ctx, id, unfit, instance.resource)
}

// Dependents returns the instances of a project. Trove lists the instances of the user's
// project and, depending on version and role, does not name their project.
func (p *Plugin) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	caller := requestcontext.From(ctx).ProjectID
	return p.list(ctx, func(i instance) bool {
		return cmp.Or(i.ProjectID, i.TenantID, caller) == parent.ID
	})
}
