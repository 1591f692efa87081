// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

func (s *Service) newNetwork(t Thing) (Thing, *Error) {
	if t["shared"] == true && !s.Admin {
		return nil, forbidden("create_network and rule:create_network:shared")
	}
	if t["router:external"] == true && !s.Admin {
		return nil, forbidden("create_network and rule:create_network:router:external")
	}
	return s.keep(Networks, s.merged(Thing{
		"name": "", "admin_state_up": true, "shared": false, "router:external": false, "port_security_enabled": true, "status": "ACTIVE",
		"mtu": 1450, "availability_zone_hints": []string{}, "ipv4_address_scope": nil, "ipv6_address_scope": nil, "qos_policy_id": nil,
	}, t)), nil
}

// tag replaces the tags of a network.
func (s *Service) tag(w http.ResponseWriter, r *http.Request) {
	t := s.find(Networks, r.PathValue("id"))
	var body struct {
		Tags []string `json:"tags"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || t == nil {
		refuse(w, missing(Networks, r.PathValue("id")))
		return
	}
	t["tags"] = body.Tags
	answer(w, http.StatusOK, body)
}

// networkFree: only ports that Neutron made itself do not hold a network.
func (s *Service) networkFree(t Thing) *Error {
	for _, port := range s.where(Ports, Thing{"network_id": t.ID()}) {
		if port.text("device_owner") != "network:dhcp" {
			return conflict("NetworkInUse", "Unable to complete operation on network %s. There are one or more ports still in use on the network, id: %s.", t.ID(), port.ID())
		}
	}
	return nil
}

func (s *Service) newSubnet(t Thing) (Thing, *Error) {
	network := s.find(Networks, t.text("network_id"))
	if network == nil {
		return nil, missing(Networks, t.text("network_id"))
	}
	if network.text("project_id") != openstacktest.Project && !s.Admin {
		return nil, forbidden("create_subnet")
	}
	cidr, err := netip.ParsePrefix(t.text("cidr"))
	if err != nil {
		return nil, badRequest("HTTPBadRequest", "Invalid input for cidr. Reason: '%s' is not a valid IP subnet.", t.text("cidr"))
	}
	if t["enable_dhcp"] == false && t.text("ipv6_ra_mode") != "" {
		return nil, badRequest("InvalidInput", "Invalid input for operation: ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False.")
	}
	for _, other := range s.where(Subnets, Thing{"network_id": network.ID()}) {
		if netip.MustParsePrefix(other.text("cidr")).Overlaps(cidr) {
			return nil, badRequest("InvalidInput", "Invalid input for operation: Requested subnet with cidr: %s for network: %s overlaps with another subnet.", cidr, network.ID())
		}
	}
	if _, said := t["gateway_ip"]; !said {
		t["gateway_ip"] = cidr.Masked().Addr().Next().String()
	}
	return s.keep(Subnets, s.merged(Thing{
		"name": "", "enable_dhcp": true, "dns_nameservers": []string{}, "host_routes": []any{}, "allocation_pools": []any{},
		"ipv6_ra_mode": nil, "ipv6_address_mode": nil, "subnetpool_id": nil,
	}, t)), nil
}

func (s *Service) subnetFree(t Thing) *Error {
	for _, port := range s.things[Ports] {
		for _, ip := range addresses(port) {
			if ip.text("subnet_id") == t.ID() && port.text("device_owner") != "network:dhcp" {
				return conflict("SubnetInUse", "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", t.ID())
			}
		}
	}
	return nil
}

// automatic tells whether a subnet's addresses are not for the caller to choose.
func automatic(subnet Thing) bool {
	mode := subnet.text("ipv6_address_mode")
	return mode == "slaac" || strings.HasPrefix(mode, "dhcpv6-stateless")
}
