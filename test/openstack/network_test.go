// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/test/openstack/cloudtest"
)

// TestNetwork takes a topology with one of everything through the service and
// back.
func TestNetwork(t *testing.T) {
	t.Parallel()
	s := cloudtest.New(t)
	p := newProject(t)
	nothing := p.Holdings()
	makeTopology(p)
	want, before := cloudtest.Topology(p), p.Holdings()
	w, c := s.Start("worker"), s.Client(p)

	checkpoint := c.Protected(topology(p))
	p.RemoveAll()
	checkHolds(t, p, "after the loss", nothing)
	c.Verified(checkpoint)
	record := c.Restored(checkpoint, nil)
	checkRemarks(t, record)
	if diff := cmp.Diff(want, cloudtest.Topology(p)); diff != "" {
		t.Errorf("the restored topology (-want +got):\n%s", diff)
	}
	c.Deleted(checkpoint)
	s.CheckPurged(checkpoint)
	checkHolds(t, p, "in the end", before)
	w.Stop()
}

// topology is a project's as a resource of a plan.
func topology(p *openstacktest.RealProject) resource.Resource {
	return resource.Resource{Type: resource.Network, ID: p.ID(), Name: "Network Topology"}
}

// makeTopology makes two networks of three subnets, one of them of IPv6; two
// routers, one with a way out and one that connects both networks and knows a
// route; groups that refer to each other; and ports with all that a user may set.
func makeTopology(p *openstacktest.RealProject) {
	type object = map[string]any
	front := p.Create(openstacktest.Network, object{"name": "front", "description": "the front"})
	back := p.Create(openstacktest.Network, object{"name": "back", "port_security_enabled": false, "admin_state_up": false})
	a := p.Create(openstacktest.Subnet, object{
		"network_id": front, "name": "a", "ip_version": 4, "cidr": "10.7.0.0/24", "gateway_ip": "10.7.0.254", "description": "subnet a",
		"allocation_pools": []any{object{"start": "10.7.0.10", "end": "10.7.0.99"}, object{"start": "10.7.0.110", "end": "10.7.0.199"}},
		"dns_nameservers":  []any{"192.0.2.53", "192.0.2.1"},
		"host_routes":      []any{object{"destination": "192.0.2.0/24", "nexthop": "10.7.0.3"}, object{"destination": "198.51.100.0/24", "nexthop": "10.7.0.4"}},
	})
	p.Create(openstacktest.Subnet, object{
		"network_id": front, "name": "six", "ip_version": 6, "cidr": "2001:db8:7::/64", "ipv6_address_mode": "slaac", "ipv6_ra_mode": "slaac",
	})
	b := p.Create(openstacktest.Subnet, object{"network_id": back, "name": "b", "ip_version": 4, "cidr": "10.8.0.0/24", "gateway_ip": nil, "enable_dhcp": false})

	out := p.Create(openstacktest.Router, object{
		"name": "out", "description": "the way out", "external_gateway_info": object{"network_id": p.PublicNetwork()},
	})
	p.Plug(out, a)
	across := p.Create(openstacktest.Router, object{"name": "across"})
	for subnet, address := range map[string]string{a: "10.7.0.5", b: "10.8.0.1"} {
		p.PlugPort(across, p.Create(openstacktest.Port, object{
			"network_id": object{a: front, b: back}[subnet], "fixed_ips": []any{object{"subnet_id": subnet, "ip_address": address}},
		}))
	}
	p.Update(openstacktest.Router, across, object{"routes": []any{object{"destination": "203.0.113.128/25", "nexthop": "10.7.0.254"}}})

	web := p.Create(openstacktest.SecurityGroup, object{"name": "web", "description": "for the web"})
	data := p.Create(openstacktest.SecurityGroup, object{"name": "data"})
	loose := p.Create(openstacktest.SecurityGroup, object{"name": "loose", "stateful": false}) // cannot be mixed with others
	rule := func(group string, body object) {
		body["security_group_id"], body["direction"] = group, "ingress"
		p.Make(openstacktest.SecurityGroupRule, body)
	}
	rule(web, object{"protocol": "tcp", "port_range_min": 443, "port_range_max": 444, "remote_ip_prefix": "192.0.2.0/24", "description": "from the office"})
	rule(web, object{"remote_group_id": data})
	rule(data, object{"protocol": "tcp", "port_range_min": 5432, "port_range_max": 5432, "remote_group_id": web})
	rule(data, object{"protocol": "icmp", "ethertype": "IPv6", "remote_group_id": data})

	p.Create(openstacktest.Port, object{
		"network_id": front, "name": "first", "description": "the first port", "security_groups": []string{web, data}, "mac_address": "fa:16:3e:00:00:07",
		"fixed_ips":             []any{object{"subnet_id": a, "ip_address": "10.7.0.77"}, object{"subnet_id": a, "ip_address": "10.7.0.78"}},
		"allowed_address_pairs": []any{object{"ip_address": "10.7.0.200"}},
	})
	p.Create(openstacktest.Port, object{"network_id": front, "name": "third", "security_groups": []string{loose}})
	p.Create(openstacktest.Port, object{"network_id": back, "name": "second", "admin_state_up": false})
	p.Create(openstacktest.Port, object{"network_id": front, "name": "bare", "port_security_enabled": false, "security_groups": []string{}})
}
