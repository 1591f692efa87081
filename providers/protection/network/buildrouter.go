// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/remark"
)

// buildRouters makes the routers, with a way to the outside if the caller may have
// that: the same external network, at another address, since the router that had the
// old one may be there still.
func (r *rebuild) buildRouters(ctx context.Context) error {
	return each(ctx, r, r.about.Routers, func(ctx context.Context, id string, old router) error {
		o := order{kind: routers, original: id, name: old.Name, body: map[string]any{"name": old.Name}}
		put(o.body, "admin_state_up", old.AdminUp)
		leads := old.Gateway != nil && old.Gateway.NetworkID != ""
		if leads {
			if translates := old.Gateway.SNAT; translates == nil || *translates {
				o.body["external_gateway_info"] = gateway{NetworkID: old.Gateway.NetworkID}
			} else {
				o.body["external_gateway_info"] = *old.Gateway
			}
			o.concessions = append(o.concessions, without("external_gateway_info"))
		}
		made, err := r.make(ctx, o)
		if err == nil && leads && (made.Gateway == nil || made.Gateway.NetworkID == "") {
			r.call.Remark(remark.Remark{Aspect: "gateway of a router", Was: fmt.Sprintf("external network %s of router %q", old.Gateway.NetworkID, old.Name), Why: made.why()})
		}
		return err
	})
}

// buildInterfaces connects the routers with the subnets, one after the other.
func (r *rebuild) buildInterfaces(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(r.about.Ports)) {
		old := r.about.Ports[id]
		if !isInterface(old.DeviceOwner) || len(old.FixedIPs) == 0 {
			continue
		}
		routerID, routed := r.new(routers, old.DeviceID)
		_, ours := r.new(networks, old.NetworkID)
		if !routed || !ours {
			r.call.Remark(remark.Remark{Aspect: "interface of a router", Was: fmt.Sprintf("network %s of router %s", old.NetworkID, old.DeviceID),
				Why: "the network or the router is not the project's own"})
			continue
		}
		if err := r.connect(ctx, id, old, routerID); err != nil {
			return err
		}
		r.step()
	}
	return nil
}

// connect makes an interface. At the gateway's address Neutron makes the port; at
// others, and with several, the port is made first.
func (r *rebuild) connect(ctx context.Context, id string, old port, routerID string) error {
	subnetID, _ := r.new(subnets, old.FixedIPs[0].SubnetID)
	for _, i := range r.found[ports.collection] {
		if i.DeviceID == routerID && isInterface(i.DeviceOwner) && slices.ContainsFunc(i.FixedIPs, func(ip fixedIP) bool { return ip.SubnetID == subnetID }) {
			r.note(ports, id, i.ID)
			return nil
		}
	}
	at := map[string]any{"subnet_id": subnetID}
	gateway := r.about.Subnets[old.FixedIPs[0].SubnetID].Gateway
	if len(old.FixedIPs) > 1 || gateway == nil || *gateway != old.FixedIPs[0].Address {
		made, err := r.make(ctx, order{
			kind: ports, original: id, name: old.Name, body: r.interfaceBody(old), concessions: []func(map[string]any){without("mac_address")},
		})
		if err != nil {
			return err
		}
		r.compare(id, old, made)
		at = map[string]any{"port_id": made.ID}
	}
	var answer struct {
		PortID string `json:"port_id"`
	}
	_, err := r.Put(ctx, r.ServiceURL(routers.collection, url.PathEscape(routerID), "add_router_interface"), at, &answer, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK},
	})
	if err != nil {
		return fmt.Errorf("connect router %s: %w", routerID, err)
	}
	r.note(ports, id, answer.PortID)
	return nil
}

// interfaceBody is that of a port which becomes an interface. Addresses in automatic
// subnets follow from its MAC address.
func (r *rebuild) interfaceBody(old port) map[string]any {
	networkID, _ := r.new(networks, old.NetworkID)
	return map[string]any{
		"name": old.Name, "network_id": networkID, "mac_address": old.MAC, "fixed_ips": r.addresses(old), "security_groups": []string{},
	}
}
