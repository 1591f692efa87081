// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// Topology tells in sorted lines what a project has in Neutron but floating IPs,
// with names in place of ids, so that what was restored can be compared with what
// was there. Ports of servers and of users, and interfaces of routers are told
// with their addresses.
func Topology(p *openstacktest.RealProject) []string {
	n, lines := newNames(p), []string{}
	add := func(format string, values ...any) { lines = append(lines, fmt.Sprintf(format, values...)) }
	for _, x := range n.networks {
		add("network %v: up %v, guarded %v, shared %v, mtu %v, tags %v, %q", x["name"], x["admin_state_up"], x["port_security_enabled"],
			x["shared"], x["mtu"], x["tags"], x["description"])
	}
	for _, x := range n.subnets {
		add("subnet %v on %s: %v, gateway %v, pools %s, DHCP %v, modes %v %v, name servers %v, routes %s, %q", x["name"], n.of(x["network_id"]),
			x["cidr"], x["gateway_ip"], sorted(x["allocation_pools"]), x["enable_dhcp"], x["ipv6_address_mode"], x["ipv6_ra_mode"],
			x["dns_nameservers"], sorted(x["host_routes"]), x["description"])
	}
	for _, x := range n.routers {
		add("router %v: up %v, gateway %s, routes %s, %q", x["name"], x["admin_state_up"], n.of(part(x, "external_gateway_info", "network_id")),
			sorted(x["routes"]), x["description"])
	}
	for _, x := range n.ports {
		if owner, _ := x["device_owner"].(string); strings.HasPrefix(owner, "network:") {
			add("interface of %s on %s: %s", n.of(x["device_id"]), n.of(x["network_id"]), n.addresses(x))
			continue
		}
		add("port %q on %s: %v, %s, up %v, guarded %v, groups %s, pairs %s, %q", x["name"], n.of(x["network_id"]), x["mac_address"], n.addresses(x),
			x["admin_state_up"], x["port_security_enabled"], n.all(x["security_groups"]), sorted(x["allowed_address_pairs"]), x["description"])
	}
	for _, x := range n.groups {
		add("group %v: stateful %v, %q", x["name"], x["stateful"], x["description"])
		for _, r := range list(x["security_group_rules"]) {
			add("rule of %v: %v %v %v %v-%v from %v %s, %q", x["name"], r["direction"], r["ethertype"], r["protocol"], r["port_range_min"],
				r["port_range_max"], r["remote_ip_prefix"], n.of(r["remote_group_id"]), r["description"])
		}
	}
	slices.Sort(lines)
	return lines
}

// names knows what a project's ids in Neutron are called.
type names struct {
	networks, subnets, routers, ports, groups []map[string]any

	called map[string]string
}

func newNames(p *openstacktest.RealProject) *names {
	n := &names{called: map[string]string{p.PublicNetwork(): "public"}}
	for kind, into := range map[*openstacktest.Kind]*[]map[string]any{
		&openstacktest.Network: &n.networks, &openstacktest.Subnet: &n.subnets, &openstacktest.Router: &n.routers,
		&openstacktest.Port: &n.ports, &openstacktest.SecurityGroup: &n.groups,
	} {
		*into = p.List(*kind)
		for _, x := range *into {
			n.called[x["id"].(string)], _ = x["name"].(string)
		}
	}
	return n
}

// of returns a name, and an id that has none as it is.
func (n *names) of(id any) string {
	text, _ := id.(string)
	if name, known := n.called[text]; known {
		return name
	}
	return text
}

func (n *names) all(ids any) string {
	var texts []string
	items, _ := ids.([]any)
	for _, id := range items {
		texts = append(texts, n.of(id))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

func (n *names) addresses(port map[string]any) string {
	var texts []string
	for _, ip := range list(port["fixed_ips"]) {
		texts = append(texts, fmt.Sprintf("%v in %s", ip["ip_address"], n.of(ip["subnet_id"])))
	}
	slices.Sort(texts)
	return strings.Join(texts, " and ")
}

// sorted is an array whose order means nothing.
func sorted(array any) string {
	var texts []string
	for _, object := range list(array) {
		texts = append(texts, fmt.Sprint(object))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}
