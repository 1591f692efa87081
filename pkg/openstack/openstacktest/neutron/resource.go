// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
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
	// neutron: plugins/ml2/plugin.py _get_network_mtu
	if mtu, _ := t["mtu"].(float64); s.MaxMTU > 0 && int(mtu) > s.MaxMTU {
		return nil, badRequest("InvalidInput", "Invalid input for operation: Requested MTU is too big, maximum is %d.", s.MaxMTU)
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

// automatic reports whether a subnet assigns its addresses, so that the caller cannot
// choose them.
func automatic(subnet Thing) bool {
	mode := subnet.text("ipv6_address_mode")
	return mode == "slaac" || strings.HasPrefix(mode, "dhcpv6-stateless")
}

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

// allocate finds the requested addresses in a network's subnets, for an existing port
// or "".
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

// free returns the lowest free address of a subnet, without the gateway's.
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

func (s *Service) newRouter(t Thing) (Thing, *Error) {
	t = s.merged(Thing{
		"name": "", "admin_state_up": true, "status": "ACTIVE", "external_gateway_info": nil, "routes": []any{}, "availability_zone_hints": []string{},
	}, t)
	if err := s.changeRouter(t, t); err != nil {
		return nil, err
	}
	return s.keep(Routers, t), nil
}

func (s *Service) changeRouter(t, change Thing) *Error {
	if gateway, ok := change["external_gateway_info"].(map[string]any); ok && len(gateway) > 0 {
		if _, said := gateway["enable_snat"]; said && !s.Admin {
			return forbidden("update_router and rule:update_router:external_gateway_info:enable_snat")
		}
		id := Thing(gateway).text("network_id")
		network := s.find(Networks, id)
		if network == nil {
			return missing(Networks, id)
		}
		if network["router:external"] != true {
			return badRequest("BadRequest", "Bad router request: Network %s is not an external network.", id)
		}
	}
	routes, _ := change["routes"].([]any)
	for _, item := range routes {
		route, _ := item.(map[string]any)
		if !s.reaches(t, Thing(route).text("nexthop")) {
			return badRequest("InvalidRoutes", "Invalid format for routes: %v, the nexthop is not connected with router", routes)
		}
	}
	return nil
}

// reaches reports whether an address is in a subnet that a router is connected to.
func (s *Service) reaches(router Thing, address string) bool {
	for _, port := range s.where(Ports, Thing{"device_id": router.ID()}) {
		for _, ip := range addresses(port) {
			if within(s.find(Subnets, ip.text("subnet_id")), address) {
				return true
			}
		}
	}
	return false
}

func (s *Service) routerFree(t Thing) *Error {
	if len(s.where(Ports, Thing{"device_id": t.ID(), "device_owner": interfaceOwner})) > 0 {
		return conflict("RouterInUse", "Router %s still has ports", t.ID())
	}
	return nil
}

// plug answers add_router_interface, for a subnet or for a port.
func (s *Service) plug(w http.ResponseWriter, r *http.Request) {
	router := s.find(Routers, r.PathValue("id"))
	var body Thing
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || router == nil {
		refuse(w, missing(Routers, r.PathValue("id")))
		return
	}
	var port Thing
	var err *Error
	if id := body.text("port_id"); id != "" {
		port, err = s.plugPort(router, id)
	} else {
		port, err = s.plugSubnet(router, body.text("subnet_id"))
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"id": router.ID(), "port_id": port.ID(), "network_id": port["network_id"], "subnet_id": addresses(port)[0]["subnet_id"],
	})
}

// has reports whether a router has a port on a subnet.
func (s *Service) has(router Thing, subnetID string) bool {
	return slices.ContainsFunc(s.where(Ports, Thing{"device_id": router.ID()}), func(port Thing) bool {
		return slices.ContainsFunc(addresses(port), func(ip Thing) bool { return ip.text("subnet_id") == subnetID })
	})
}

func twice(subnetID string) *Error {
	return badRequest("BadRequest", "Bad router request: Router already has a port on subnet %s.", subnetID)
}

func (s *Service) plugSubnet(router Thing, subnetID string) (Thing, *Error) {
	subnet := s.find(Subnets, subnetID)
	switch {
	case subnet == nil:
		return nil, missing(Subnets, subnetID)
	case subnet.text("gateway_ip") == "":
		return nil, badRequest("BadRequest", "Bad router request: Subnet for router interface must have a gateway IP.")
	case s.has(router, subnetID):
		return nil, twice(subnetID)
	case s.taken(subnet, subnet.text("gateway_ip"), ""):
		return nil, conflict("IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s", subnet.text("gateway_ip"), subnetID)
	}
	return s.newPort(Thing{
		"id": s.newID(), "network_id": subnet["network_id"], "project_id": router["project_id"], "device_id": router.ID(), "device_owner": interfaceOwner, "description": "",
		"fixed_ips": []any{Thing{"subnet_id": subnetID, "ip_address": subnet["gateway_ip"]}},
	})
}

func (s *Service) plugPort(router Thing, id string) (Thing, *Error) {
	port := s.find(Ports, id)
	if port == nil {
		return nil, missing(Ports, id)
	}
	if device := port.text("device_id"); device != "" {
		return nil, conflict("PortInUse", "Unable to complete operation on port %s for network %s. Port already has an attached device %s.", id, port["network_id"], device)
	}
	for _, ip := range addresses(port) {
		if s.has(router, ip.text("subnet_id")) {
			return nil, twice(ip.text("subnet_id"))
		}
	}
	port["device_id"], port["device_owner"], port["security_groups"] = router.ID(), interfaceOwner, []any{}
	return port, nil
}

// unplug answers remove_router_interface. The port goes with the interface.
func (s *Service) unplug(w http.ResponseWriter, r *http.Request) {
	router := s.find(Routers, r.PathValue("id"))
	var body Thing
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || router == nil {
		refuse(w, missing(Routers, r.PathValue("id")))
		return
	}
	for _, port := range s.where(Ports, Thing{"device_id": router.ID(), "device_owner": interfaceOwner}) {
		for _, ip := range addresses(port) {
			if port.ID() != body.text("port_id") && ip.text("subnet_id") != body.text("subnet_id") {
				continue
			}
			routes, _ := router["routes"].([]any)
			for _, item := range routes {
				if route, _ := item.(map[string]any); within(s.find(Subnets, ip.text("subnet_id")), fmt.Sprint(route["nexthop"])) {
					refuse(w, conflict("RouterInterfaceInUseByRoute", "Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more routes.", ip["subnet_id"], router.ID()))
					return
				}
			}
			s.drop(Ports, port.ID())
			answer(w, http.StatusOK, map[string]any{"id": router.ID(), "port_id": port.ID()})
			return
		}
	}
	refuse(w, notFound("RouterInterfaceNotFound", "Router %s does not have an interface with id %s", router.ID(), body.text("port_id")))
}

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

// associate checks the port for a floating IP: a router must have an interface on the
// port's subnet and a gateway to the floating IP's network.
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

// newGroup creates a security group, which allows all outgoing traffic from the start.
func (s *Service) newGroup(t Thing) Thing {
	t = s.keep(Groups, s.merged(Thing{"id": s.newID(), "name": "", "description": "", "project_id": openstacktest.Project, "stateful": true, "tags": []string{}}, t))
	for _, version := range []string{"IPv4", "IPv6"} {
		_, _ = s.newRule(Thing{"id": s.newID(), "project_id": t["project_id"], "security_group_id": t.ID(), "direction": "egress", "ethertype": version, "description": ""})
	}
	return t
}

func (s *Service) newRule(t Thing) (Thing, *Error) {
	if s.find(Groups, t.text("security_group_id")) == nil {
		return nil, notFound("SecurityGroupNotFound", "Security group %s does not exist", t.text("security_group_id"))
	}
	if remote := t.text("remote_group_id"); remote != "" {
		if s.find(Groups, remote) == nil {
			return nil, notFound("SecurityGroupNotFound", "Security group %s does not exist", remote)
		}
		if t.text("remote_ip_prefix") != "" {
			return nil, badRequest("SecurityGroupMultipleRemoteEntites", "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.")
		}
	}
	t = s.merged(Thing{
		"ethertype": "IPv4", "protocol": nil, "port_range_min": nil, "port_range_max": nil, "remote_ip_prefix": nil, "remote_group_id": nil,
		"remote_address_group_id": nil, "description": "",
	}, t)
	for _, other := range s.where(Rules, Thing{"security_group_id": t["security_group_id"]}) {
		if rule(other) == rule(t) {
			return nil, conflict("SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", other.ID())
		}
	}
	return s.keep(Rules, t), nil
}

// rule is what a rule says, remotes in other words than ids aside.
func rule(t Thing) string {
	return fmt.Sprint(t["direction"], t["ethertype"], t["protocol"], t["port_range_min"], t["port_range_max"], t["remote_ip_prefix"], t["remote_group_id"])
}

func (s *Service) groupFree(t Thing) *Error {
	if t.text("name") == "default" {
		return conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.")
	}
	for _, port := range s.things[Ports] {
		groups, _ := port["security_groups"].([]any)
		if slices.Contains(groups, any(t.ID())) {
			return conflict("SecurityGroupInUse", "Security Group %s in use.", t.ID())
		}
	}
	return nil
}

// The calls below are made by a Nova of the same cloud.

// PortFor creates a port for a device on a network, at the given address, or at any if
// address is "".
func (s *Service) PortFor(device, network, address string, groups []any) (Thing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body := Thing{"network_id": network, "device_id": device, "device_owner": "compute:nova", "project_id": openstacktest.Project}
	if len(groups) > 0 {
		body["security_groups"] = groups
	}
	if address != "" {
		body["fixed_ips"] = []any{Thing{"ip_address": address}}
	}
	port, err := s.make(Ports, body)
	if err != nil {
		return nil, err
	}
	port["status"] = "ACTIVE"
	delete(s.building, port.ID())
	return port, nil
}

// Bind assigns a port to a device.
func (s *Service) Bind(id, device string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	port := s.find(Ports, id)
	if port == nil {
		return missing(Ports, id)
	}
	if port.text("device_id") != "" {
		return conflict("PortInUse", "Port %s is still in use.", id)
	}
	port["device_id"], port["device_owner"], port["status"] = device, "compute:nova", "ACTIVE"
	return nil
}

// Release detaches a port from its device, and removes the port if it was created for
// that device.
func (s *Service) Release(id string, drop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	port := s.find(Ports, id)
	switch {
	case port == nil:
	case drop:
		s.discard(Ports, port)
	default:
		port["device_id"], port["device_owner"], port["status"] = "", "", "DOWN"
	}
}

// Nic is a port as a server shows it.
type Nic struct {
	Network string // the name
	MAC     string
	Fixed   []string
	// Floating are the floating IPs that lead to the port.
	Floating []string
}

// Nics returns the ports of a device in the order in which they were made.
func (s *Service) Nics(device string) []Nic {
	s.mu.Lock()
	defer s.mu.Unlock()
	var nics []Nic
	for _, port := range s.where(Ports, Thing{"device_id": device}) {
		nic := Nic{Network: s.named(Networks, port["network_id"]), MAC: port.text("mac_address")}
		for _, ip := range addresses(port) {
			nic.Fixed = append(nic.Fixed, ip.text("ip_address"))
		}
		for _, ip := range s.where(FloatingIPs, Thing{"port_id": port.ID()}) {
			nic.Floating = append(nic.Floating, ip.text("floating_ip_address"))
		}
		nics = append(nics, nic)
	}
	return nics
}

// GroupID returns the id of a security group that has this id or, alone, this name.
func (s *Service) GroupID(text string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.find(Groups, text); g != nil {
		return g.ID(), nil
	}
	switch named := s.where(Groups, Thing{"name": text}); len(named) {
	case 0:
		return "", badRequest("SecurityGroupNotFound", "Security group %s not found for project %s.", text, openstacktest.Project)
	case 1:
		return named[0].ID(), nil
	}
	return "", conflict("NoUniqueMatch", "Multiple security groups found matching '%s'. Use an ID to be more specific.", text)
}
