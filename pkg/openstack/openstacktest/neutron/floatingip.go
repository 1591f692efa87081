// SPDX-License-Identifier: Apache-2.0

package neutron

func (s *Service) newFloatingIP(t Thing) (Thing, *Error) {
	network := s.find(Networks, t.text("floating_network_id"))
	if network == nil {
		return nil, missing(Networks, t.text("floating_network_id"))
	}
	if t.text("floating_ip_address") == "" {
		for _, subnet := range s.where(Subnets, Thing{"network_id": network.ID()}) {
			t["floating_ip_address"] = s.free(subnet)
		}
	}
	t = s.merged(Thing{"status": "DOWN", "port_id": nil, "fixed_ip_address": nil, "router_id": nil}, t)
	if err := s.associate(t, t); err != nil {
		return nil, err
	}
	return s.keep(FloatingIPs, t), nil
}

// associate checks the port that a floating IP shall lead to: a router must have
// an interface on its subnet and a gateway to the floating IP's network.
func (s *Service) associate(t, change Thing) *Error {
	id, said := change["port_id"]
	if !said {
		return nil
	}
	if id == nil {
		change["fixed_ip_address"] = nil
		return nil
	}
	port := s.find(Ports, change.text("port_id"))
	if port == nil {
		return missing(Ports, change.text("port_id"))
	}
	for _, ip := range addresses(port) {
		if wanted := change.text("fixed_ip_address"); wanted != "" && wanted != ip.text("ip_address") {
			continue
		}
		for _, other := range s.where(FloatingIPs, Thing{"port_id": port.ID(), "fixed_ip_address": ip["ip_address"]}) {
			if other.ID() != t.ID() {
				return conflict("FloatingIPPortAlreadyAssociated", "Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that fixed IP already has a floating IP on external network %s.",
					t["floating_ip_address"], t.ID(), port.ID(), ip["ip_address"], t["floating_network_id"])
			}
		}
		if !s.routed(ip.text("subnet_id"), t.text("floating_network_id")) {
			return notFound("ExternalGatewayForFloatingIPNotFound", "External network %s is not reachable from subnet %s.  Therefore, cannot associate Port %s with a Floating IP.",
				t["floating_network_id"], ip["subnet_id"], port.ID())
		}
		change["fixed_ip_address"] = ip["ip_address"]
		return nil
	}
	return badRequest("BadRequest", "Bad floatingip request: Port %s does not have fixed ip %s.", port.ID(), change.text("fixed_ip_address"))
}

func (s *Service) routed(subnetID, external string) bool {
	for _, port := range s.where(Ports, Thing{"device_owner": interfaceOwner}) {
		router := s.find(Routers, port.text("device_id"))
		gateway, _ := router["external_gateway_info"].(map[string]any)
		if Thing(gateway).text("network_id") != external {
			continue
		}
		for _, ip := range addresses(port) {
			if ip.text("subnet_id") == subnetID {
				return true
			}
		}
	}
	return false
}
