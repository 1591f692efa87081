// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"strings"

	"github.com/karbor-project/karbor/providers/protection"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	// Mark is this restore's own. What is made carries it until all is made.
	Mark string `json:"mark,omitempty"`
	// Made are the new ids by collection and original id, once all is made.
	Made map[string]map[string]string `json:"made,omitempty"`
	// Kept are the ids of what is there already and stands for the original.
	Kept map[string]string `json:"kept,omitempty"`
	// Done: all is as it was.
	Done bool `json:"done,omitempty"`
}

// restore returns the project that the topology was restored into.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	r, err := p.begin(ctx, c)
	if err != nil {
		return "", err
	}
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &r.about); err != nil {
		return r.target(), err
	}
	r.count()
	if r.state.Made == nil {
		if err := c.UpdateStatus(ctx, r.target(), protection.StatusRestoring, ""); err != nil {
			return r.target(), err
		}
		if err := r.build(ctx); err != nil {
			return r.target(), err
		}
	}
	if !r.state.Done {
		if err := r.finish(ctx); err != nil {
			return r.target(), err
		}
	}
	for original, kept := range r.state.Kept {
		c.NewResources.Set(original, kept)
	}
	for _, made := range r.state.Made {
		for original, id := range made {
			c.NewResources.Set(original, id)
		}
	}
	return r.target(), nil
}

// begin reads what earlier runs have left. Before anything is made the state has
// the mark by which it is found.
func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*rebuild, error) {
	neutron, err := p.service(ctx)
	if err != nil {
		return nil, err
	}
	r := &rebuild{service: neutron, call: c, made: map[string]map[string]string{}}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return nil, err
	}
	switch {
	case r.state.Mark == "":
		r.state.Mark = p.newID()
		return r, c.SaveState(ctx, r.state)
	case r.state.Made == nil:
		return r, r.discover(ctx)
	}
	return r, nil
}

// mark begins the description of what a restore makes until all is made.
func (r *rebuild) mark() string { return "karbor " + r.state.Mark + " of " }

// discover lists what the project has, and finds in it what a run made that did not
// live to the end.
func (r *rebuild) discover(ctx context.Context) error {
	r.there, r.found = map[string]item{}, map[string][]item{}
	for _, k := range kinds {
		items, err := list[item](ctx, r.service, k, r.project)
		if err != nil {
			return err
		}
		r.found[k.collection] = items
		for _, i := range items {
			if original, ours := strings.CutPrefix(i.Description, r.mark()); ours {
				r.there[original] = i
			}
		}
	}
	return nil
}

// target is the project that is restored into.
func (r *rebuild) target() string {
	if r.project == "" {
		return r.call.Resource.ID
	}
	return r.project
}

// build makes all, in the order in which things need each other.
func (r *rebuild) build(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		r.buildNetworks, r.buildGroups, r.buildSubnets, r.buildRouters, r.buildPorts, r.buildInterfaces,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	r.state.Made, r.state.Kept = r.made, r.kept
	return r.call.SaveState(ctx, r.state)
}
