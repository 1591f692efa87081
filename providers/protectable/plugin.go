// SPDX-License-Identifier: Apache-2.0

// Package protectable says what can be protected: one plugin per resource type
// lists, shows and links the resources that the caller's cloud has, and the
// registry makes the graph of a plan's resources from them.
package protectable

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
)

// Parameters are the extra arguments of a listing or a look-up, such as the
// "name" of a pod.
type Parameters map[string]json.RawMessage

// Plugin knows the resources of one type. It keeps nothing of a request: the
// caller, with project and token, comes with the context.
type Plugin interface {
	// Type returns the resource type.
	Type() string
	// ParentTypes returns the types of the resources that can have these as
	// dependents.
	ParentTypes() []string
	// List returns the caller's resources that are fit to be protected. It fails
	// with fault.ListProtectableResourceFailed.
	List(ctx context.Context, p Parameters) ([]resource.Resource, error)
	// Show returns one resource, or nil if the plugin knows that there is none.
	// It fails with fault.ProtectableResourceNotFound if the cloud does not show
	// it, and with ProtectableResourceInvalidStatus if it is not fit.
	Show(ctx context.Context, id string, p Parameters) (*resource.Resource, error)
	// Dependents returns the resources of this type that belong to parent, whose
	// type is one of ParentTypes, in the cloud's order. It fails with
	// fault.ListProtectableResourceFailed, which ends the making of the graph unless
	// its cause is that the cloud has no such service.
	Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error)
}

// Judge is a Plugin that knows which resources cannot be protected as they are.
type Judge interface {
	// Unfit returns the reasons by id; resources without one are fit. All of them are of
	// the plugin's type and in the graph that is being made. It fails as List does.
	Unfit(ctx context.Context, resources []resource.Resource) (map[string]string, error)
}

// Judged are the types whose plugins are Judges.
func Judged() []string {
	return []string{resource.Database, resource.Image, resource.Pod, resource.Server, resource.Share, resource.Volume}
}

// Statuses is how a plugin learns the statuses of its resources.
type Statuses[T any] struct {
	Type string
	// List lists the caller's resources, Show reads one, and Of returns its id and status.
	// Without Show, a resource that is not listed does not exist.
	List func(context.Context) ([]T, error)
	Show func(ctx context.Context, id string) (*T, error)
	Of   func(T) (id, status string)
}

// Unfit returns why resources are unfit that are in one of some statuses, or that are not
// there. A few are asked for one by one.
func (s Statuses[T]) Unfit(ctx context.Context, resources []resource.Resource, unfit []string) (map[string]string, error) {
	known := map[string]string{}
	if s.Show == nil || len(resources) > few || Many(ctx, s.Type) {
		all, err := s.List(ctx)
		if err != nil {
			return nil, ListFailed(s.Type, err)
		}
		for _, one := range all {
			id, status := s.Of(one)
			known[id] = status
		}
	}
	reasons := map[string]string{}
	for _, r := range resources {
		status, there := known[r.ID]
		if !there && s.Show != nil {
			var err error
			if status, there, err = s.ask(ctx, r.ID); err != nil {
				return nil, ListFailed(s.Type, err)
			}
		}
		switch {
		case !there:
			reasons[r.ID] = "it is not there"
		case slices.Contains(unfit, status):
			reasons[r.ID] = "its status is " + status
		}
	}
	return reasons, nil
}

// ask looks one resource up. One too many to be asked for counts as fit.
func (s Statuses[T]) ask(ctx context.Context, id string) (status string, there bool, err error) {
	if Single(ctx, s.Type) != nil {
		return "", true, nil
	}
	one, err := s.Show(ctx, id)
	if openstack.IsNotFound(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	_, status = s.Of(*one)
	return status, true, nil
}

// Fit returns the resources of those listed that are not in one of some statuses; a graph
// that is being made tells of the others.
func (s Statuses[T]) Fit(ctx context.Context, listed []T, unfit []string, as func(T) resource.Resource) []resource.Resource {
	found := []resource.Resource{}
	for _, one := range listed {
		if _, status := s.Of(one); slices.Contains(unfit, status) {
			Omit(ctx, as(one), "its status is "+status)
			continue
		}
		found = append(found, as(one))
	}
	return found
}

// Get returns a resource as Plugin.Show does.
func (s Statuses[T]) Get(ctx context.Context, id string, unfit []string, as func(T) resource.Resource) (*resource.Resource, error) {
	one, err := s.Show(ctx, id)
	if err != nil {
		return nil, ShowFailed(s.Type, id, err)
	}
	_, status := s.Of(*one)
	if err := CheckStatus(s.Type, id, status, unfit); err != nil {
		return nil, err
	}
	r := as(*one)
	return &r, nil
}
