// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

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

// reaches tells whether an address is in a subnet that a router is connected with.
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

// has tells whether a router has a port on a subnet.
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
