// SPDX-License-Identifier: Apache-2.0

package protectable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// DefaultParallel is how many resources' dependents are looked up at a time.
const DefaultParallel = 8

// Options tune a Registry.
type Options struct {
	// Parallel bounds the concurrent look-ups of one graph. 0 is DefaultParallel.
	Parallel int
	// MaxLinks bounds the links of one graph, from resources to those that depend on
	// them. 0 is no bound.
	MaxLinks int
	// Log gets the listings that were skipped. Nil discards.
	Log logrus.FieldLogger
}

// Registry holds one plugin per type, in the order in which types are listed
// and children of one resource follow each other. It is safe for concurrent use.
type Registry struct {
	plugins  []Plugin
	parallel int
	maxLinks int
	log      logrus.FieldLogger
}

// NewRegistry makes a registry. The order of the plugins is kept.
func NewRegistry(o Options, plugins ...Plugin) *Registry {
	r := &Registry{plugins: plugins, parallel: o.Parallel, maxLinks: o.MaxLinks, log: o.Log}
	if r.parallel <= 0 {
		r.parallel = DefaultParallel
	}
	r.log = telemetry.OrDiscard(r.log)
	return r
}

// Types returns the types of all plugins in their order.
func (r *Registry) Types() []string {
	types := make([]string, 0, len(r.plugins))
	for _, p := range r.plugins {
		types = append(types, p.Type())
	}
	return types
}

// Get returns the plugin of a type, or fault.ProtectableTypeNotFound.
func (r *Registry) Get(resourceType string) (Plugin, error) {
	for _, p := range r.plugins {
		if p.Type() == resourceType {
			return p, nil
		}
	}
	return nil, fault.ProtectableTypeNotFound(resourceType)
}

// DependentTypes returns the types that can be dependents of a type, in order.
func (r *Registry) DependentTypes(resourceType string) []string {
	types := []string{}
	for _, p := range r.plugins {
		if slices.Contains(p.ParentTypes(), resourceType) {
			types = append(types, p.Type())
		}
	}
	return types
}

// Dependents returns the resources that belong to parent, of all types in their
// order. A type that the cloud does not have is logged and left out. Any other error
// ends the call: a checkpoint must not miss resources because a service was in trouble.
func (r *Registry) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	return r.dependents(ctx, parent, func(remark.Remark) {})
}

func (r *Registry) dependents(ctx context.Context, parent resource.Resource, told func(remark.Remark)) ([]resource.Resource, error) {
	all := []resource.Resource{}
	for _, p := range r.plugins {
		if !slices.Contains(p.ParentTypes(), parent.Type) {
			continue
		}
		found, err := p.Dependents(ctx, parent)
		if err != nil && ctx.Err() == nil && missing(err) {
			r.log.WithFields(logrus.Fields{"parent": parent.Key().String(), "type": p.Type()}).
				Logf(severity(ctx, err), "dependents are left out: %s", fault.Detail(err))
			if one, ok := leftOut(parent.Type, p.Type(), err); ok {
				told(one)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// missing reports whether an error says that there is nothing to list: no service, or
// a parent that there is not. The parent's own protection says the latter too.
func missing(err error) bool {
	for _, known := range []error{openstack.ErrNoService, kubernetes.ErrNotConfigured, kubernetes.ErrLeftOut, ErrUnlisted} {
		if errors.Is(err, known) {
			return true
		}
	}
	return openstack.IsNotFound(err) && fault.Is(err, "ListProtectableResourceFailed")
}

// leftOut is what is remarked of dependents that are left out, the same for all parents
// of a type. A cluster that nobody has configured, and a parent that is gone, are nothing
// that a checkpoint lacks.
func leftOut(parentType, resourceType string, err error) (remark.Remark, bool) {
	for _, why := range []error{openstack.ErrNoService, ErrUnlisted} {
		if errors.Is(err, why) {
			return remark.Remark{Resource: remark.Resource{Type: resourceType}, Aspect: "dependent resources", Was: "those of " + parentType,
				Is: "not protected", Why: why.Error()}, true
		}
	}
	return remark.Remark{}, false
}

// Graph returns the graph of the resources and all that depends on them, and what of that
// is left out. It fails with resource.ErrTooLarge.
func (r *Registry) Graph(ctx context.Context, starts []resource.Resource) (*resource.Graph, []remark.Remark, error) {
	var links atomic.Int64
	var left remark.List
	children := func(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
		found, err := r.dependents(ctx, parent, func(one remark.Remark) { left.Add(one) })
		if n := int(links.Add(int64(len(found)))); err == nil && r.maxLinks > 0 && n > r.maxLinks {
			return nil, fault.InvalidInput(fmt.Sprintf("The resources have more than %d links to those that depend on them (max_links_per_operation).",
				r.maxLinks)).WithCause(resource.ErrTooLarge)
		}
		return found, err
	}
	graph, err := resource.Build(withMemo(ctx, starts), starts, children, r.parallel)
	return graph, left.Document().Remarks, err
}
