// SPDX-License-Identifier: Apache-2.0

// Package project protects a project as the sum of its resources. A plan that names a
// project covers all of its resources, each with its own plugin; the project itself has
// nothing to keep. The original has no such
// plugin, so that only its no-op provider took such plans.
package project

import (
	"encoding/json"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Names are the names by which provider files select the plugin.
var Names = []string{"karbor-project-protection-plugin"}

// Plugin succeeds at everything, since there is nothing to do.
type Plugin struct{}

var _ protection.Plugin = Plugin{}

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, nil, func(*config.Config, protection.Deps) (protection.Plugin, error) { return New(), nil })
}

// Types returns OS::Keystone::Project.
func (Plugin) Types() []string { return []string{resource.Project} }

// Schemas returns empty objects: there is nothing to choose.
func (Plugin) Schemas(string) protection.Schemas {
	empty := json.RawMessage(`{}`)
	return protection.Schemas{Options: empty, Restore: empty, SavedInfo: empty}
}

// Operation returns one without hooks.
func (Plugin) Operation(protection.Kind, resource.Resource) (*protection.Operation, error) {
	return &protection.Operation{}, nil
}
