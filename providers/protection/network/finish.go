// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"net/url"

	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// finish takes the marks away and does what has to come last. Each step may be
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
