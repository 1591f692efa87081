// SPDX-License-Identifier: Apache-2.0

// Package noop is the protection plugin that does nothing, for all types. It
// shows that the rest of the service works, and lets a plan hold resources that
// need no protection.
package noop

import (
	"encoding/json"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Names are the names by which provider files select the plugin.
var Names = []string{"karbor-noop-protection-plugin", protection.ClassPrefix + "noop_plugin.NoopProtectionPlugin"}

// Plugin succeeds at everything, verify and copy included, which the original
// refuses. karbor: services/protection/protection_plugins/noop_plugin.py
type Plugin struct{}

var _ protection.Plugin = Plugin{}

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, nil, func(*config.Config, protection.Deps) (protection.Plugin, error) { return New(), nil })
}

// Types returns all eight types, in the order in which the original lists their
// schemas. karbor: common/constants.py RESOURCE_TYPES
func (Plugin) Types() []string {
	return []string{resource.Project, resource.Server, resource.Volume, resource.Image, resource.Share,
		resource.Network, resource.Database, resource.Pod}
}

// Schemas returns empty objects, and no schema for verify.
func (Plugin) Schemas(string) protection.Schemas {
	empty := json.RawMessage(`{}`)
	return protection.Schemas{Options: empty, Restore: empty, SavedInfo: empty}
}

// Operation returns one without hooks.
func (Plugin) Operation(protection.Kind, resource.Resource) (*protection.Operation, error) {
	return &protection.Operation{}, nil
}
