// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

const interfaceOwner = "network:router_interface"

// addresses returns the fixed IPs of a port.
func addresses(port Thing) []Thing {
	list, _ := port["fixed_ips"].([]any)
	var found []Thing
	for _, item := range list {
		switch ip := item.(type) {
		case Thing:
			found = append(found, ip)
		case map[string]any:
			found = append(found, ip)
		}
	}
	return found
}

func (s *Service) newPort(t Thing) (Thing, *Error) {
	network := s.find(Networks, t.text("network_id"))
	if network == nil {
		return nil, missing(Networks, t.text("network_id"))
	}
	_, chosen := t["fixed_ips"]
	foreign := network.text("project_id") != openstacktest.Project && !s.Admin
	switch {
	case foreign && t.text("mac_address") != "":
		return nil, forbidden("create_port and rule:create_port:mac_address")
	case foreign && chosen:
		return nil, forbidden("create_port and rule:create_port:fixed_ips")
	case t.text("mac_address") == "":
		t["mac_address"] = fmt.Sprintf("fa:16:3e:f0:%02x:%02x", s.serial>>8&0xff, s.serial&0xff)
	case len(s.where(Ports, Thing{"network_id": network.ID(), "mac_address": t["mac_address"]})) > 0:
		return nil, conflict("MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", network.ID(), t["mac_address"])
	}
	if err := s.groupsOf(t); err != nil {
		return nil, err
	}
	wanted := addresses(t)
	if !chosen {
		for _, subnet := range s.where(Subnets, Thing{"network_id": network.ID()}) {
			wanted = append(wanted, Thing{"subnet_id": subnet.ID()})
			if subnet["ip_version"] != float64(6) {
				break
			}
		}
	}
	ips, err := s.allocate(network, wanted, "")
	if err != nil {
		return nil, err
	}
	t["fixed_ips"] = ips
	return s.keep(Ports, s.merged(Thing{
		"name": "", "admin_state_up": true, "device_id": "", "device_owner": "", "status": "DOWN", "port_security_enabled": true,
		"allowed_address_pairs": []any{}, "extra_dhcp_opts": []any{}, "binding:vnic_type": "normal",
	}, t)), nil
}

// groupsOf checks the security groups of a port, or gives it the default one.
func (s *Service) groupsOf(t Thing) *Error {
	groups, said := t["security_groups"].([]any)
	if !said {
		if t["port_security_enabled"] != false && !strings.HasPrefix(t.text("device_owner"), "network:") {
			t["security_groups"] = []any{s.where(Groups, Thing{"name": "default"})[0].ID()}
		} else {
			t["security_groups"] = []any{}
		}
		return nil
	}
	if len(groups) > 0 && t["port_security_enabled"] == false {
		return badRequest("PortSecurityAndIPRequiredForSecurityGroups", "Port security must be enabled and port must have an IP address in order to use security groups.")
	}
	for _, id := range groups {
		if s.find(Groups, fmt.Sprint(id)) == nil {
			return notFound("SecurityGroupNotFound", "Security group %s does not exist", id)
		}
	}
	return nil
}

// allocate finds the addresses that are wanted of a network's subnets, for a port
// that is there already or "".
func (s *Service) allocate(network Thing, wanted []Thing, port string) ([]any, *Error) {
	given := []any{}
	for _, ip := range wanted {
		subnet := s.find(Subnets, ip.text("subnet_id"))
		if subnet == nil && ip.text("ip_address") != "" {
			subnet = s.subnetOf(network, ip.text("ip_address"))
			if subnet == nil {
				return nil, badRequest("InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on the specified network.", ip.text("ip_address"))
			}
		}
		if subnet == nil || subnet.text("network_id") != network.ID() {
			return nil, badRequest("InvalidInput", "Invalid input for operation: Failed to create port on network %s, because fixed_ips included invalid subnet %s.", network.ID(), ip.text("subnet_id"))
		}
		address := ip.text("ip_address")
		switch {
		case address != "" && automatic(subnet):
			return nil, badRequest("AllocationOnAutoAddressSubnet", "IPv6 address %s cannot be directly assigned to a port on subnet %s as the subnet is configured for automatic addresses", address, subnet.ID())
		case address != "" && !within(subnet, address):
			return nil, badRequest("InvalidIpForSubnet", "IP address %s is not a valid IP for the specified subnet.", address)
		case address != "" && s.taken(subnet, address, port):
			return nil, conflict("IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s", address, subnet.ID())
		case address == "":
			if address = s.free(subnet); address == "" {
				return nil, conflict("IpAddressGenerationFailure", "No more IP addresses available on network %s.", network.ID())
			}
		}
		given = append(given, Thing{"subnet_id": subnet.ID(), "ip_address": address})
	}
	return given, nil
}

func within(subnet Thing, address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && netip.MustParsePrefix(subnet.text("cidr")).Contains(ip)
}

func (s *Service) subnetOf(network Thing, address string) Thing {
	for _, subnet := range s.where(Subnets, Thing{"network_id": network.ID()}) {
		if within(subnet, address) {
			return subnet
		}
	}
	return nil
}

func (s *Service) taken(subnet Thing, address, except string) bool {
	return slices.ContainsFunc(s.things[Ports], func(port Thing) bool {
		return port.ID() != except && slices.ContainsFunc(addresses(port), func(ip Thing) bool {
			return ip.text("subnet_id") == subnet.ID() && ip.text("ip_address") == address
		})
	})
}

// free returns the lowest address of a subnet that is free and not its gateway's.
func (s *Service) free(subnet Thing) string {
	cidr := netip.MustParsePrefix(subnet.text("cidr"))
	for ip := cidr.Masked().Addr().Next(); cidr.Contains(ip); ip = ip.Next() {
		if address := ip.String(); address != subnet.text("gateway_ip") && !s.taken(subnet, address, "") {
			return address
		}
	}
	return ""
}

func (s *Service) changePort(t, change Thing) *Error {
	if _, said := change["security_groups"]; said {
		if err := s.groupsOf(change); err != nil {
			return err
		}
	}
	if _, said := change["fixed_ips"]; !said {
		return nil
	}
	ips, err := s.allocate(s.find(Networks, t.text("network_id")), addresses(change), t.ID())
	if err == nil {
		change["fixed_ips"] = ips
	}
	return err
}

// portFree: the ports of routers go with their interfaces.
func portFree(t Thing) *Error {
	if owner := t.text("device_owner"); owner == interfaceOwner || owner == "network:router_gateway" {
		return conflict("ServicePortInUse", "Port %s cannot be deleted directly via the port API: has device owner %s.", t.ID(), owner)
	}
	return nil
}
