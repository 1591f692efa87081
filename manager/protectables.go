// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// instance is a resource as the protectable methods answer it.
type instance struct {
	Type      string          `json:"type,omitempty"`
	ID        string          `json:"id"`
	Name      *string         `json:"name"`
	ExtraInfo json.RawMessage `json:"extra_info"`
}

func instanceOf(r resource.Resource) instance {
	extra := r.ExtraInfo
	if len(extra) == 0 {
		extra = json.RawMessage("null")
	}
	return instance{Type: r.Type, ID: r.ID, Name: r.NameOrNull(), ExtraInfo: extra}
}

// listProtectableTypes answers the types in the order of their plugins.
func (m *Manager) listProtectableTypes(_ context.Context, a *arguments) (any, error) {
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.protectables.Types(), nil
}

// showProtectableType answers {"name", "dependent_types"}.
func (m *Manager) showProtectableType(_ context.Context, a *arguments) (any, error) {
	name := a.required("protectable_type")
	if err := a.done(); err != nil {
		return nil, err
	}
	if _, err := m.protectables.Get(name); err != nil {
		return nil, err
	}
	return struct {
		Name           string   `json:"name"`
		DependentTypes []string `json:"dependent_types"`
	}{name, m.protectables.DependentTypes(name)}, nil
}

// listProtectableInstances answers the caller's resources of a type, without
// the type itself. Paging and sorting have no effect, as in the original.
func (m *Manager) listProtectableInstances(ctx context.Context, a *arguments) (any, error) {
	plugin, err := m.protectablePlugin(a)
	if err != nil {
		return nil, err
	}
	a.text("marker")
	a.limit("limit")
	a.texts("sort_keys")
	a.texts("sort_dirs")
	a.object("filters")
	parameters := a.object("parameters")
	if err := a.done(); err != nil {
		return nil, err
	}
	found, err := plugin.List(ctx, protectable.Parameters(parameters))
	if err != nil {
		return nil, err
	}
	instances := m.listings.begin()
	defer instances.done()
	for _, r := range found {
		r.Type = ""
		if err := instances.add(instanceOf(r)); err != nil {
			return nil, err
		}
	}
	return instances.answer(), nil
}

// showProtectableInstance answers one resource, or null if there is none.
func (m *Manager) showProtectableInstance(ctx context.Context, a *arguments) (any, error) {
	plugin, err := m.protectablePlugin(a)
	if err != nil {
		return nil, err
	}
	id := a.required("protectable_id")
	parameters := a.object("parameters")
	if err := a.done(); err != nil {
		return nil, err
	}
	found, err := plugin.Show(ctx, id, protectable.Parameters(parameters))
	if err != nil || found == nil {
		return nil, err
	}
	return instanceOf(*found), nil
}

// listProtectableDependents answers the resources that belong to another.
func (m *Manager) listProtectableDependents(ctx context.Context, a *arguments) (any, error) {
	parent := resource.Resource{
		Type: a.required("protectable_type"), ID: a.required("protectable_id"), Name: a.text("protectable_name"),
	}
	if err := a.done(); err != nil {
		return nil, err
	}
	if _, err := m.protectables.Get(parent.Type); err != nil {
		return nil, err
	}
	found, err := m.protectables.Dependents(ctx, parent)
	if err != nil {
		return nil, err
	}
	instances := m.listings.begin()
	defer instances.done()
	for _, r := range found {
		if err := instances.add(instanceOf(r)); err != nil {
			return nil, err
		}
	}
	return instances.answer(), nil
}

func (m *Manager) protectablePlugin(a *arguments) (protectable.Plugin, error) {
	name := a.required("protectable_type")
	if a.err != nil {
		return nil, a.err
	}
	if name == "" {
		return nil, fault.InvalidInput("argument protectable_type is empty")
	}
	return m.protectables.Get(name)
}
