// SPDX-License-Identifier: Apache-2.0

// Package project makes the caller's project protectable: a plan of it covers
// all that it has.
package project

import (
	"context"

	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// Plugin knows one resource, the caller's project, from the request context
// alone. karbor: services/protection/protectable_plugins/project.py
type Plugin struct{}

var _ protectable.Plugin = Plugin{}

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Type returns OS::Keystone::Project.
func (Plugin) Type() string { return resource.Project }

// ParentTypes returns none: nothing contains a project.
func (Plugin) ParentTypes() []string { return nil }

// List returns the caller's project.
func (Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	caller := requestcontext.From(ctx)
	return []resource.Resource{{Type: resource.Project, ID: caller.ProjectID, Name: caller.ProjectName}}, nil
}

// Show returns a project of the id, with the name of the caller's.
func (Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	return &resource.Resource{Type: resource.Project, ID: id, Name: requestcontext.From(ctx).ProjectName}, nil
}

// Dependents returns none.
func (Plugin) Dependents(context.Context, resource.Resource) ([]resource.Resource, error) {
	return nil, nil
}
