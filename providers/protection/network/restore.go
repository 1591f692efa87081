// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	// Mark is unique to this restore. Things carry it until all of them are made.
	Mark string `json:"mark,omitempty"`
	// Made are the new ids by collection and original id, once all is made.
	Made map[string]map[string]string `json:"made,omitempty"`
	// Kept are the ids of existing things that replace the originals.
	Kept map[string]string `json:"kept,omitempty"`
	// Done is set when everything is restored.
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

// plan counts what restore makes, and looks for the external networks that it needs.
func (p *Plugin) plan(ctx context.Context, c *protection.Call) (map[string]string, error) {
	neutron, err := p.service(ctx)
	if err != nil {
		return nil, err
	}
	r := &rebuild{service: neutron, call: c}
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &r.about); err != nil {
		return nil, err
	}
	var names []string
	for _, id := range slices.Sorted(maps.Keys(r.about.Networks)) {
		if n := r.about.Networks[id]; !n.External {
			names = append(names, r.networkName(n))
			c.NewResources.Set(id, id)
		}
	}
	for id, s := range r.about.Subnets {
		if r.restores(s.NetworkID) {
			c.NewResources.Set(id, id)
		}
	}
	ports := 0
	for id, old := range r.about.Ports {
		if old.ordinary() && r.restores(old.NetworkID) {
			ports++
			c.NewResources.Set(id, id)
		}
	}
	for id := range r.about.Groups {
		c.NewResources.Set(id, id)
	}
	for _, id := range slices.Sorted(maps.Keys(r.about.Routers)) {
		c.NewResources.Set(id, id)
		old := r.about.Routers[id]
		if !old.leads() {
			continue
		}
		_, err := openstack.Show[struct{}](ctx, r.ServiceClient, "networks", old.Gateway.NetworkID, "network")
		if err != nil && !openstack.IsNotFound(err) {
			return nil, err
		}
		if err != nil {
			r.noGateway(old, hook.Reason(err))
		}
	}
	return hook.Words(map[string]any{"networks": names, "subnets": len(r.about.Subnets), "routers": len(r.about.Routers), "ports": ports,
		"security_groups": len(r.about.Groups)}), nil
}

// restores reports whether a network is one that the restore makes anew.
func (r *rebuild) restores(networkID string) bool {
	n, known := r.about.Networks[networkID]
	return known && !n.External
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

// finish removes the marks and takes the steps that have to come last. Each may be
// repeated.
func (r *rebuild) finish(ctx context.Context) error {
	for _, step := range []func(context.Context) error{r.finishNetworks, r.finishGroups, r.finishSubnets, r.finishPorts, r.finishRouters} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	r.state.Done = true
	return r.call.SaveState(ctx, r.state)
}

// marked returns the new id of something that carries a mark.
func (r *rebuild) marked(k kind, original string) (string, bool) {
	id, ok := r.state.Made[k.collection][original]
	return id, ok
}

func (r *rebuild) finishNetworks(ctx context.Context) error {
	return each(ctx, r, r.about.Networks, func(ctx context.Context, id string, old network) error {
		made, ok := r.marked(networks, id)
		if !ok {
			return nil
		}
		if len(old.Tags) > 0 {
			if err := r.put(ctx, map[string]any{"tags": old.Tags}, networks.collection, url.PathEscape(made), "tags"); err != nil {
				return fmt.Errorf("tag network %s: %w", made, err)
			}
		}
		return r.change(ctx, networks, made, map[string]any{"description": old.Description})
	})
}

func (r *rebuild) finishGroups(ctx context.Context) error {
	return each(ctx, r, r.about.Groups, func(ctx context.Context, id string, old secure) error {
		made, ok := r.marked(groups, id)
		if !ok {
			return nil
		}
		return r.change(ctx, groups, made, map[string]any{"description": old.Description})
	})
}

func (r *rebuild) finishSubnets(ctx context.Context) error {
	return each(ctx, r, r.about.Subnets, func(ctx context.Context, id string, old subnet) error {
		made, ok := r.marked(subnets, id)
		if !ok {
			return nil
		}
		body := map[string]any{"description": old.Description}
		if old.DHCP && old.late() {
			body["enable_dhcp"] = true
		}
		return r.change(ctx, subnets, made, body)
	})
}

func (r *rebuild) finishPorts(ctx context.Context) error {
	return each(ctx, r, r.about.Ports, func(ctx context.Context, id string, old port) error {
		made, ok := r.marked(ports, id)
		if !ok {
			return nil
		}
		return r.change(ctx, ports, made, map[string]any{"description": old.Description})
	})
}

// finishRouters gives routers their routes too, which lead over interfaces and
// gateways that there may be no more.
func (r *rebuild) finishRouters(ctx context.Context) error {
	return each(ctx, r, r.about.Routers, func(ctx context.Context, id string, old router) error {
		made, ok := r.marked(routers, id)
		if !ok {
			return nil
		}
		body := map[string]any{"description": old.Description}
		if string(old.Routes) != "[]" {
			putJSON(body, "routes", old.Routes)
		}
		err := r.change(ctx, routers, made, body)
		if _, routes := body["routes"]; routes && refused(err) {
			r.call.Remark(remark.Remark{Aspect: "routes of a router", Was: fmt.Sprintf("%s of router %q", old.Routes, old.Name), Why: hook.Reason(err)})
			delete(body, "routes")
			return r.change(ctx, routers, made, body)
		}
		return err
	})
}

// undoRestore removes the things that a restore has made, users before the things that
// they use. Subnets go with their networks. Its error names the things that are left.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	r := &rebuild{call: c}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return err
	}
	if r.state.Mark == "" {
		return nil // nothing was begun
	}
	var err error
	if r.service, err = p.service(ctx); err != nil {
		return err
	}
	if err := r.discover(ctx); err != nil {
		return &hook.Failure{Text: "networks of the restore may be left behind: " + hook.Reason(err), Err: err}
	}
	made := r.leftovers()
	return hook.Join(
		r.disconnect(ctx, made[routers.collection]),
		r.removeAll(ctx, routers, made[routers.collection]),
		r.removeAll(ctx, ports, made[ports.collection]),
		r.removeAll(ctx, networks, made[networks.collection]),
		r.removeAll(ctx, groups, made[groups.collection]),
	)
}

// leftovers returns the things that this restore has made and that exist, by collection
// and id.
func (r *rebuild) leftovers() map[string]map[string]item {
	left := map[string]map[string]item{}
	for _, k := range kinds {
		left[k.collection] = map[string]item{}
		known := slices.Collect(maps.Values(r.state.Made[k.collection]))
		for _, i := range r.found[k.collection] {
			if slices.Contains(known, i.ID) || strings.HasPrefix(i.Description, r.mark()) {
				left[k.collection][i.ID] = i
			}
		}
	}
	return left
}

// disconnect removes the interfaces of routers, and the routes that lead over
// them before.
func (r *rebuild) disconnect(ctx context.Context, made map[string]item) error {
	var failures []error
	for _, i := range made {
		if len(i.Routes) == 0 {
			continue
		}
		err := r.change(ctx, routers, i.ID, map[string]any{"routes": []any{}})
		if err != nil && !openstack.IsNotFound(err) {
			failures = append(failures, err)
		}
	}
	for _, i := range r.found[ports.collection] {
		if _, ours := made[i.DeviceID]; !ours || !isInterface(i.DeviceOwner) {
			continue
		}
		err := r.put(ctx, map[string]any{"port_id": i.ID}, routers.collection, url.PathEscape(i.DeviceID), "remove_router_interface")
		if err != nil && !openstack.IsNotFound(err) {
			failures = append(failures, &hook.Failure{
				Text: fmt.Sprintf("interface %s of router %s is left behind: %s", i.ID, i.DeviceID, hook.Reason(err)), Err: err,
			})
		}
	}
	return hook.Join(failures...)
}

func (r *rebuild) removeAll(ctx context.Context, k kind, made map[string]item) error {
	var failures []error
	for _, id := range slices.Sorted(maps.Keys(made)) {
		if isInterface(made[id].DeviceOwner) {
			continue // it went with its router
		}
		err := r.remove(ctx, k.collection, id)
		if err != nil {
			failures = append(failures, &hook.Failure{
				Text: fmt.Sprintf("%s %s is left behind: %s", k.noun, id, hook.Reason(err)), Err: err,
			})
		}
	}
	return hook.Join(failures...)
}
