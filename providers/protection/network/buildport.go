// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// buildPorts makes the ports that are for users to make. They belong to no device:
// that of the original may be there still, and a restored server takes the port
// that stands for its own.
func (r *rebuild) buildPorts(ctx context.Context) error {
	return each(ctx, r, r.about.Ports, func(ctx context.Context, id string, old port) error {
		if !old.ordinary() {
			return nil
		}
		networkID, ours := r.new(networks, old.NetworkID)
		if !ours {
			return r.buildForeign(ctx, id, old)
		}
		made, err := r.make(ctx, r.portOrder(id, old, networkID))
		if err == nil {
			r.compare(id, old, made)
		}
		return err
	})
}

// buildForeign makes a port on a network that is not restored, since it is not the
// project's own. A server gets its port there when it is restored.
func (r *rebuild) buildForeign(ctx context.Context, id string, old port) error {
	if strings.HasPrefix(old.DeviceOwner, computeOwner) {
		return nil
	}
	made, err := r.make(ctx, r.portOrder(id, old, old.NetworkID))
	switch {
	case refused(err):
		r.call.Remark(remark.Remark{Aspect: "port", Was: fmt.Sprintf("port %s on network %s, which is not the project's own", id, old.NetworkID), Why: hook.Reason(err)})
		return nil
	case err == nil:
		r.compare(id, old, made)
	}
	return err
}

// compare remarks what a port has that is not what the old one had.
func (r *rebuild) compare(id string, old port, made *item) {
	if !sameAddresses(r.addresses(old), made.FixedIPs) {
		r.call.Remark(remark.Remark{Aspect: "addresses of a port", Was: addressesOf(id, old.FixedIPs), Is: addressesOf(made.ID, made.FixedIPs), Why: made.why()})
	}
	if old.MAC != "" && !strings.EqualFold(old.MAC, made.MAC) {
		r.call.Remark(remark.Remark{Aspect: "MAC address of a port", Was: old.MAC + " of port " + id, Is: made.MAC + " of port " + made.ID, Why: made.why()})
	}
}

func addressesOf(id string, ips []fixedIP) string {
	var all []string
	for _, ip := range ips {
		all = append(all, ip.Address)
	}
	return strings.Join(all, ", ") + " of port " + id
}

func (r *rebuild) portOrder(id string, old port, networkID string) order {
	body := map[string]any{"name": old.Name, "network_id": networkID, "mac_address": old.MAC, "fixed_ips": r.addresses(old)}
	put(body, "admin_state_up", old.AdminUp)
	put(body, "port_security_enabled", old.PortSecurity)
	if old.Groups != nil {
		mapped := make([]string, len(old.Groups))
		for i, group := range old.Groups {
			mapped[i] = r.group(group)
		}
		body["security_groups"] = mapped
	}
	if string(old.Pairs) != "[]" {
		putJSON(body, "allowed_address_pairs", old.Pairs)
	}
	if string(old.DHCPOptions) != "[]" {
		putJSON(body, "extra_dhcp_opts", old.DHCPOptions)
	}
	if old.VNIC != "" && old.VNIC != "normal" {
		body["binding:vnic_type"] = old.VNIC
	}
	return order{kind: ports, original: id, name: old.Name, body: body, concessions: []func(map[string]any){without("mac_address"), without("fixed_ips")}}
}

// addresses are those that a port is to have. Neutron finds those of automatic
// subnets itself. A subnet that is not restored is the one that it was.
func (r *rebuild) addresses(old port) []fixedIP {
	ips := make([]fixedIP, 0, len(old.FixedIPs))
	for _, ip := range old.FixedIPs {
		if id, ok := r.new(subnets, ip.SubnetID); ok {
			if r.about.Subnets[ip.SubnetID].automatic() {
				ip.Address = ""
			}
			ip.SubnetID = id
		}
		ips = append(ips, ip)
	}
	return ips
}

func sameAddresses(wanted, has []fixedIP) bool {
	for _, w := range wanted {
		if !slices.ContainsFunc(has, func(ip fixedIP) bool {
			return w.SubnetID == ip.SubnetID && (w.Address == "" || w.Address == ip.Address)
		}) {
			return false
		}
	}
	return true
}
