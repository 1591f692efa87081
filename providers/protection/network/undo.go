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
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// undoRestore removes what a restore has made, what needs others first. Subnets go
// with their networks. Its error names what is left.
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

// leftovers returns what is there of all that was made, by collection and id.
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
