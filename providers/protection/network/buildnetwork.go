// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/remark"
)

func (r *rebuild) buildNetworks(ctx context.Context) error {
	return each(ctx, r, r.about.Networks, func(ctx context.Context, id string, n network) error {
		if n.External {
			return nil
		}
		o := order{kind: networks, original: id, name: n.Name, body: map[string]any{"name": r.networkName(n)}}
		put(o.body, "admin_state_up", n.AdminUp)
		put(o.body, "port_security_enabled", n.PortSecurity)
		if n.Shared {
			o.body["shared"] = true
			o.concessions = append(o.concessions, without("shared"))
		}
		made, err := r.make(ctx, o)
		if err == nil && n.Shared && !made.Shared {
			r.call.Remark(remark.Remark{Aspect: "sharing of a network", Was: fmt.Sprintf("network %q was shared with all projects", n.Name),
				Is: "not shared", Why: made.why()})
		}
		return err
	})
}

// networkName is the name that the user wants: as it is for a network that is the
// only one, else in front of the network's own. Without a wish all keep theirs.
func (r *rebuild) networkName(n network) string {
	wish, _ := r.call.Parameters.String("restore_name")
	if wish == "" {
		return n.Name
	}
	own := 0
	for _, other := range r.about.Networks {
		if !other.External {
			own++
		}
	}
	if own == 1 {
		return wish
	}
	return wish + "-" + n.Name
}

// buildSubnets makes the subnets of the networks that are restored. Their DHCP
// stays off till the end where that can be: its server takes the first address that
// it finds free, and a port is yet to get that.
func (r *rebuild) buildSubnets(ctx context.Context) error {
	return each(ctx, r, r.about.Subnets, func(ctx context.Context, id string, s subnet) error {
		networkID, ours := r.new(networks, s.NetworkID)
		if !ours {
			return nil
		}
		body := map[string]any{
			"network_id": networkID, "name": s.Name, "cidr": s.CIDR, "ip_version": s.Version, "gateway_ip": nil,
			"enable_dhcp": s.DHCP && !s.late(),
		}
		if s.Gateway != nil && *s.Gateway != "" {
			body["gateway_ip"] = *s.Gateway
		}
		put(body, "ipv6_address_mode", s.AddressMode)
		put(body, "ipv6_ra_mode", s.RAMode)
		putJSON(body, "allocation_pools", s.Pools)
		putJSON(body, "dns_nameservers", s.NameServers)
		putJSON(body, "host_routes", s.HostRoutes)
		_, err := r.make(ctx, order{kind: subnets, original: id, name: s.Name, body: body})
		return err
	})
}

// late tells whether DHCP can be switched on later. With modes of IPv6 it cannot.
func (s subnet) late() bool { return s.AddressMode == nil && s.RAMode == nil }
