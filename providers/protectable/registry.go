// SPDX-License-Identifier: Apache-2.0

package protectable

import (
	"context"
	"io"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
)

// DefaultParallel is how many resources' dependents are looked up at a time.
const DefaultParallel = 8

// Options tune a Registry.
type Options struct {
	// Parallel bounds the concurrent look-ups of one graph. 0 is DefaultParallel.
	Parallel int
	// Log gets the listings that were skipped. Nil discards.
	Log logrus.FieldLogger
}

// Registry holds one plugin per type, in the order in which types are listed
// and children of one resource follow each other. It is safe for concurrent use.
type Registry struct {
	plugins  []Plugin
	parallel int
	log      logrus.FieldLogger
}

// NewRegistry makes a registry. The order of the plugins is kept.
func NewRegistry(o Options, plugins ...Plugin) *Registry {
	r := &Registry{plugins: plugins, parallel: o.Parallel, log: o.Log}
	if r.parallel <= 0 {
		r.parallel = DefaultParallel
	}
	if r.log == nil {
		discard := logrus.New()
		discard.SetOutput(io.Discard)
		r.log = discard
	}
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
// order. A type whose listing fails is logged and left out, as with the
// original; any other error ends the call.
func (r *Registry) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	all := []resource.Resource{}
	for _, p := range r.plugins {
		if !slices.Contains(p.ParentTypes(), parent.Type) {
			continue
		}
		found, err := p.Dependents(ctx, parent)
		if err != nil && ctx.Err() == nil && fault.Is(err, "ListProtectableResourceFailed") {
			r.log.WithFields(logrus.Fields{"parent": parent.Key().String(), "type": p.Type()}).
				Warnf("dependents are left out: %s", fault.Detail(err))
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Graph returns the graph of the resources and all that depends on them.
func (r *Registry) Graph(ctx context.Context, starts []resource.Resource) (*resource.Graph, error) {
	return resource.Build(withMemo(ctx, starts), starts, r.Dependents, r.parallel)
}
