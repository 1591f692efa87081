// SPDX-License-Identifier: Apache-2.0

// Package protectable says what can be protected: one plugin per resource type
// lists, shows and links the resources that the caller's cloud has, and the
// registry makes the graph of a plan's resources from them.
package protectable

import (
	"context"
	"encoding/json"

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
