// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
)

// describe says what a thing is and what it is connected with, by names.
func (s *Service) describe(collection string, t Thing) string {
	text := fmt.Sprintf("%s %q %q", members[collection], t.text("name"), t.text("description"))
	switch collection {
	case Networks:
		text += fmt.Sprintf(" %v %v shared %v up %v secure %v", t["tags"], t["status"], t["shared"], t["admin_state_up"], t["port_security_enabled"])
	case Subnets:
		text += fmt.Sprintf(" of %s %v by %v DHCP %v pools %v routes %v", s.named(Networks, t["network_id"]), t["cidr"], t["gateway_ip"], t["enable_dhcp"], t["allocation_pools"], t["host_routes"])
	case Ports:
		text += fmt.Sprintf(" of %s %v owner %q at %s groups %v", s.named(Networks, t["network_id"]), t["status"], t.text("device_owner"), s.named(Routers, t["device_id"]), s.groupNames(t))
		for _, ip := range addresses(t) {
			text += " " + ip.text("ip_address")
		}
	case Routers:
		gateway, _ := t["external_gateway_info"].(map[string]any)
		text += fmt.Sprintf(" %v to %s routes %v", t["status"], s.named(Networks, gateway["network_id"]), t["routes"])
	case Rules:
		text += fmt.Sprintf(" of %s %v %v %v %v %v %v %s", s.named(Groups, t["security_group_id"]),
			t["direction"], t["ethertype"], t["protocol"], t["port_range_min"], t["port_range_max"], t["remote_ip_prefix"], s.named(Groups, t["remote_group_id"]))
	case FloatingIPs:
		text += fmt.Sprintf(" %v to %v used %v", t["floating_ip_address"], t["fixed_ip_address"], t["port_id"] != nil)
	}
	return text
}

// named returns the name of what an id names, "-" if there is none.
func (s *Service) named(collection string, id any) string {
	text, _ := id.(string)
	if t := s.find(collection, text); t != nil {
		return t.text("name")
	}
	return "-"
}

func (s *Service) groupNames(port Thing) []string {
	groups, _ := port["security_groups"].([]any)
	names := []string{}
	for _, id := range groups {
		names = append(names, s.named(Groups, id))
	}
	slices.Sort(names)
	return names
}
