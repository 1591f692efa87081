// SPDX-License-Identifier: Apache-2.0

package protectable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
				leave(ctx, one)
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

// leftOut returns the remark on dependents that are left out, one for all parents of a
// type. It returns false if the checkpoint lacks nothing: the cluster is not configured,
// or the parent is gone.
func leftOut(parentType, resourceType string, err error) (remark.Remark, bool) {
	for _, why := range []error{openstack.ErrNoService, ErrUnlisted} {
		if errors.Is(err, why) {
			return remark.Remark{Resource: remark.Resource{Type: resourceType}, Aspect: "dependent resources", Was: "those of " + parentType,
				Is: notProtected, Why: why.Error()}, true
		}
	}
	return remark.Remark{}, false
}

// Graph returns the graph of the resources and all that depends on them, and what of that
// is left out. What optional reports is left out if it cannot be protected as it is: see
// withoutUnfit; nil reports nothing. It fails with resource.ErrTooLarge.
func (r *Registry) Graph(ctx context.Context, starts []resource.Resource, optional func(resource.Resource) bool) (*resource.Graph, []remark.Remark, error) {
	var links atomic.Int64
	var found sync.Map // dependents by the key of their parent
	ctx = withMemo(ctx, starts)
	graph, err := resource.Build(ctx, starts, func(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
		dependents, err := r.Dependents(ctx, parent)
		if errors.Is(err, kubernetes.ErrNotFound) && optional != nil && optional(parent) {
			dependents, err = nil, nil // the pod is not there, and is left out for that
		}
		if n := int(links.Add(int64(len(dependents)))); err == nil && r.maxLinks > 0 && n > r.maxLinks {
			return nil, fault.InvalidInput(fmt.Sprintf("The resources have more than %d links to those that depend on them (max_links_per_operation).",
				r.maxLinks)).WithCause(resource.ErrTooLarge)
		}
		found.Store(parent.Key(), dependents)
		return dependents, err
	}, r.parallel)
	if err == nil && optional != nil {
		graph, err = r.withoutUnfit(ctx, graph, starts, &found, optional)
	}
	return graph, left(ctx), err
}

// withoutUnfit returns a graph without the optional resources that cannot be protected as
// they are, without those that no restore could bring back for want of them, and without
// what depends on these alone. Each is told of. It fails with fault.InvalidInput if a
// resource that is not optional lacks one that is, or if nothing would be left.
func (r *Registry) withoutUnfit(ctx context.Context, graph *resource.Graph, starts []resource.Resource, found *sync.Map,
	optional func(resource.Resource) bool) (*resource.Graph, error) {
	unfit, err := r.unfit(ctx, graph, optional)
	if err != nil || len(unfit) == 0 {
		return graph, err
	}
	for _, node := range graph.Nodes() { // children come before their parents
		if node.Type == resource.Project || unfit[node.Key()] != "" {
			continue
		}
		for _, child := range node.Children {
			why, lacks := unfit[child.Key()]
			if !lacks {
				continue
			}
			if !optional(node.Resource) {
				return nil, fault.InvalidInput(fmt.Sprintf("%s cannot be protected without %s: %s. It may not be left out itself (on_unfit).", node.Key(), child.Key(), why))
			}
			unfit[node.Key()] = fmt.Sprintf("it needs %s: %s", child.Key(), why)
			break
		}
	}
	fit := func(all []resource.Resource) []resource.Resource {
		return slices.DeleteFunc(slices.Clone(all), func(r resource.Resource) bool { return unfit[r.Key()] != "" })
	}
	rest := fit(starts)
	if len(rest) == 0 {
		return nil, fault.InvalidInput(fmt.Sprintf("None of the plan's resources can be protected. %s: %s.", starts[0].Key(), unfit[starts[0].Key()]))
	}
	pruned, err := resource.Build(ctx, rest, func(_ context.Context, parent resource.Resource) ([]resource.Resource, error) {
		dependents, _ := found.Load(parent.Key())
		return fit(dependents.([]resource.Resource)), nil
	}, 1)
	if err != nil {
		return nil, err
	}
	for _, node := range graph.Nodes() {
		if pruned.Find(node.Key()) == nil {
			Omit(ctx, node.Resource, cmp.Or(unfit[node.Key()], "nothing that is protected has it"))
		}
	}
	return pruned, nil
}

// unfit returns why optional resources of a graph cannot be protected as they are.
func (r *Registry) unfit(ctx context.Context, graph *resource.Graph, optional func(resource.Resource) bool) (map[resource.Key]string, error) {
	byType := map[string][]resource.Resource{}
	for _, node := range graph.Nodes() {
		if optional(node.Resource) {
			byType[node.Type] = append(byType[node.Type], node.Resource)
		}
	}
	unfit := map[resource.Key]string{}
	for _, p := range r.plugins {
		judge, judges := p.(Judge)
		if !judges || len(byType[p.Type()]) == 0 {
			continue
		}
		reasons, err := judge.Unfit(ctx, byType[p.Type()])
		if err != nil && !missing(err) {
			return nil, err
		}
		for id, why := range reasons {
			unfit[resource.Key{Type: p.Type(), ID: id}] = why
		}
	}
	return unfit, nil
}
