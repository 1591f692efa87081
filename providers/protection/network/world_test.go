// SPDX-License-Identifier: Apache-2.0

package network

import (
	"regexp"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// theProject is the topology of the caller's project.
var theProject = resource.Resource{Type: resource.Network, ID: openstacktest.Project, Name: "Network Topology"}

const administrator = "99999999999999999999999999999999"

type (
	thing  = neutron.Thing
	object = map[string]any
	array  = []any
)

// cloud has a project with a bit of everything: two networks of a router each way,
// groups that refer to each other, ports of a server, of nobody, of DHCP, and one
// on a network of the administrator.
type cloud struct {
	*neutron.Service
	public, front, back, frontSubnet, backSubnet, router, web, db, nic thing
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	s := neutron.New(t)
	c := &cloud{Service: s}
	c.public = s.Add(neutron.Networks, thing{"name": "public", "router:external": true, "project_id": administrator})
	s.Add(neutron.Subnets, thing{"network_id": c.public.ID(), "cidr": "203.0.113.0/24", "ip_version": 4, "project_id": administrator})

	c.web = s.Add(neutron.Groups, thing{"name": "web", "description": "reached by all"})
	c.db = s.Add(neutron.Groups, thing{"name": "db"})
	rule := func(group thing, more thing) {
		more["security_group_id"] = group.ID()
		s.Add(neutron.Rules, more)
	}
	rule(c.web, thing{"direction": "ingress", "protocol": "tcp", "port_range_min": 443, "port_range_max": 443, "remote_ip_prefix": "0.0.0.0/0"})
	rule(c.web, thing{"direction": "ingress", "protocol": "icmp"})
	rule(c.db, thing{"direction": "ingress", "protocol": "tcp", "port_range_min": 5432, "port_range_max": 5432, "remote_group_id": c.web.ID()})
	rule(c.db, thing{"direction": "ingress", "remote_group_id": s.Things(neutron.Groups)[0].ID()})
	for _, r := range s.Things(neutron.Rules) { // the group db sends nothing by IPv6
		if r["security_group_id"] == c.db.ID() && r["direction"] == "egress" && r["ethertype"] == "IPv6" {
			s.Drop(neutron.Rules, r.ID())
		}
	}

	c.front = s.Add(neutron.Networks, thing{"name": "front", "description": "what users reach", "tags": []string{"blue"}})
	c.back = s.Add(neutron.Networks, thing{"name": "back", "port_security_enabled": false, "admin_state_up": false})
	c.frontSubnet = s.Add(neutron.Subnets, thing{
		"network_id": c.front.ID(), "name": "front4", "cidr": "10.1.0.0/24", "ip_version": 4, "description": "of the front",
		"dns_nameservers": array{"10.1.0.53"}, "host_routes": array{object{"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"}},
		"allocation_pools": array{object{"start": "10.1.0.10", "end": "10.1.0.99"}},
	})
	six := s.Add(neutron.Subnets, thing{
		"network_id": c.front.ID(), "name": "front6", "cidr": "fd00:1::/64", "ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac",
	})
	c.backSubnet = s.Add(neutron.Subnets, thing{"network_id": c.back.ID(), "name": "back4", "cidr": "10.2.0.0/24", "ip_version": 4, "gateway_ip": nil})

	c.router = s.Add(neutron.Routers, thing{"name": "edge", "external_gateway_info": object{"network_id": c.public.ID()}})
	s.Plug(c.router, c.frontSubnet)
	inner := s.Add(neutron.Routers, thing{"name": "inner", "admin_state_up": false})
	s.Add(neutron.Ports, thing{ // not at a gateway's address
		"network_id": c.front.ID(), "device_id": inner.ID(), "device_owner": "network:router_interface", "security_groups": array{},
		"fixed_ips": array{thing{"subnet_id": c.frontSubnet.ID(), "ip_address": "10.1.0.9"}},
	})
	inner["routes"] = array{object{"destination": "10.8.0.0/16", "nexthop": "10.1.0.1"}}

	s.Add(neutron.Ports, thing{"network_id": c.front.ID(), "device_id": "dhcp1", "device_owner": "network:dhcp"})
	c.nic = s.Add(neutron.Ports, thing{
		"network_id": c.front.ID(), "name": "nic", "device_id": "server1", "device_owner": "compute:nova", "mac_address": "fa:16:3e:00:00:01",
		"fixed_ips":             array{thing{"subnet_id": c.frontSubnet.ID(), "ip_address": "10.1.0.10"}, thing{"subnet_id": six.ID()}},
		"security_groups":       array{c.web.ID(), s.Things(neutron.Groups)[0].ID()},
		"allowed_address_pairs": array{object{"ip_address": "10.1.0.200"}},
	})
	s.Add(neutron.Ports, thing{
		"network_id": c.back.ID(), "name": "spare", "description": "kept free", "port_security_enabled": false, "mac_address": "fa:16:3e:00:00:02",
		"fixed_ips": array{thing{"subnet_id": c.backSubnet.ID(), "ip_address": "10.2.0.7"}}, "security_groups": array{},
	})
	s.Add(neutron.Ports, thing{"network_id": c.public.ID(), "name": "outside", "mac_address": "fa:16:3e:00:00:03"})
	s.Add(neutron.Ports, thing{"network_id": c.public.ID(), "name": "outside nic", "device_owner": "compute:nova", "device_id": "server1"})
	return c
}

func newPlugin(clients Clients) *Plugin {
	return New(poll.Config{PollInterval: time.Millisecond}, clients)
}

func worldOf(t testing.TB, c *cloud) *plugintest.World {
	return &plugintest.World{
		Service:  c,
		Resource: theProject,
		Plugin:   func(p *plugintest.Process) protection.Plugin { return newPlugin(c.Wrapped(p.Transport)) },
		Caller:   requestcontext.From(openstacktest.Context(t)),
		// The order in which ports are made is not the same in each run.
		Normalize: func(text string) string { return newMAC.ReplaceAllString(text, "a new MAC") },
	}
}

// newMAC is one that the fake of Neutron has chosen.
var newMAC = regexp.MustCompile(`fa:16:3e:f0(:[0-9a-f]{2}){2}`)

func TestSurvives(t *testing.T) {
	t.Parallel()
	plugintest.Survive(t, plugintest.Options{}, func(t testing.TB) *plugintest.World {
		c := newCloud(t)
		c.Looks = 2
		return worldOf(t, c)
	})
}

func TestConforms(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, newPlugin(neutron.New(t)))
}
