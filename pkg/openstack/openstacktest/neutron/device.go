// SPDX-License-Identifier: Apache-2.0

package neutron

import "github.com/karbor-project/karbor/pkg/openstack/openstacktest"

// The calls below are those of a Nova of the same cloud.

// PortFor makes a port for a device on a network, at an address or at any if that
// is "".
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

// Bind gives a port to a device.
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

// Release takes a port from its device, and drops it if it was made for that.
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
