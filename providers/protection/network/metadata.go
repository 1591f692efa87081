// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"strings"
)

// metadata is the JSON object of the same name in the bank, in the key order of
// the original. Its maps hold what Neutron says of each thing, by id, reduced to
// the keys below. karbor: neutron_protection_plugin.py
type metadata struct {
	ResourceID string   `json:"resource_id"`
	BackupName string   `json:"backup_name"`
	Networks   topology `json:"network_metadata"`
	Subnets    topology `json:"subnet_metadata"`
	Ports      topology `json:"port_metadata"`
	Routers    topology `json:"router_metadata"`
	Groups     topology `json:"security-group_metadata"`
}

// backupName is the name of every backup of the original.
const backupName = "karbor network backup"

type topology map[string]map[string]json.RawMessage

// Keys that are kept. In addition to the original's there are admin_state_up of a router,
// which it looks for under a misspelt name, the kind of a port's
// interface, and whether a security group follows connections.
var (
	networkKeys = []string{
		"id", "admin_state_up", "availability_zone_hints", "description", "ipv4_address_scope", "ipv6_address_scope", "mtu", "name",
		"port_security_enabled", "router:external", "shared", "status", "subnets", "tags", "tenant_id",
	}
	subnetKeys = []string{
		"cidr", "allocation_pools", "description", "dns_nameservers", "enable_dhcp", "gateway_ip", "host_routes", "id", "ip_version",
		"ipv6_address_mode", "ipv6_ra_mode", "name", "network_id", "subnetpool_id", "tenant_id",
	}
	portKeys = []string{
		"admin_state_up", "allowed_address_pairs", "description", "device_id", "device_owner", "extra_dhcp_opts", "fixed_ips", "id",
		"mac_address", "name", "network_id", "port_security_enabled", "security_groups", "status", "tenant_id", "binding:vnic_type",
	}
	routerKeys = []string{
		"admin_state_up", "availability_zone_hints", "description", "external_gateway_info", "id", "name", "routes", "status",
	}
	groupKeys = []string{"id", "description", "name", "security_group_rules", "tenant_id", "stateful"}
)

// saved is the metadata as a restore reads it.
type saved struct {
	ResourceID string             `json:"resource_id"`
	Networks   map[string]network `json:"network_metadata"`
	Subnets    map[string]subnet  `json:"subnet_metadata"`
	Ports      map[string]port    `json:"port_metadata"`
	Routers    map[string]router  `json:"router_metadata"`
	Groups     map[string]secure  `json:"security-group_metadata"`
}

type network struct {
	Name         string   `json:"name"`
	Description  string   `json:"description"`
	AdminUp      *bool    `json:"admin_state_up"`
	PortSecurity *bool    `json:"port_security_enabled"` // null without the extension
	External     bool     `json:"router:external"`
	Shared       bool     `json:"shared"`
	Tags         []string `json:"tags"`
	MTU          int      `json:"mtu"` // 0 without the extension
}

type subnet struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	NetworkID   string          `json:"network_id"`
	CIDR        string          `json:"cidr"`
	Version     int             `json:"ip_version"`
	Gateway     *string         `json:"gateway_ip"`
	DHCP        bool            `json:"enable_dhcp"`
	AddressMode *string         `json:"ipv6_address_mode"`
	RAMode      *string         `json:"ipv6_ra_mode"`
	Pools       json.RawMessage `json:"allocation_pools"`
	NameServers json.RawMessage `json:"dns_nameservers"`
	HostRoutes  json.RawMessage `json:"host_routes"`
}

// automatic reports whether Neutron derives the addresses from MAC addresses, so that
// nobody can choose them.
func (s subnet) automatic() bool {
	return s.AddressMode != nil && (*s.AddressMode == "slaac" || *s.AddressMode == "dhcpv6-stateless")
}

type port struct {
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	NetworkID    string          `json:"network_id"`
	MAC          string          `json:"mac_address"`
	AdminUp      *bool           `json:"admin_state_up"`
	PortSecurity *bool           `json:"port_security_enabled"`
	DeviceID     string          `json:"device_id"`
	DeviceOwner  string          `json:"device_owner"`
	FixedIPs     []fixedIP       `json:"fixed_ips"`
	Groups       []string        `json:"security_groups"`
	Pairs        json.RawMessage `json:"allowed_address_pairs"`
	DHCPOptions  json.RawMessage `json:"extra_dhcp_opts"`
	VNIC         string          `json:"binding:vnic_type"`
}

type fixedIP struct {
	SubnetID string `json:"subnet_id"`
	Address  string `json:"ip_address,omitempty"`
}

// Owners of ports, as far as they matter. neutron-lib: constants.py
const (
	networkOwner = "network:" // begins those of ports that Neutron makes
	computeOwner = "compute:" // begins those of servers
)

// isInterface reports whether a port of this owner connects a router with a subnet:
// of an ordinary router, a distributed one, or one with a stand-by.
func isInterface(owner string) bool {
	switch owner {
	case "network:router_interface", "network:router_interface_distributed", "network:ha_router_replicated_interface":
		return true
	}
	return false
}

// ordinary reports whether a port is for Neutron's users to make.
func (p port) ordinary() bool { return !strings.HasPrefix(p.DeviceOwner, networkOwner) }

type router struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	AdminUp     *bool           `json:"admin_state_up"` // null in backups of the original
	Gateway     *gateway        `json:"external_gateway_info"`
	Routes      json.RawMessage `json:"routes"`
}

type gateway struct {
	NetworkID string `json:"network_id"`
	SNAT      *bool  `json:"enable_snat,omitempty"`
}

// secure is a security group.
type secure struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Stateful    *bool  `json:"stateful"` // null in backups of the original
	Rules       []rule `json:"security_group_rules"`
}

// defaultGroup is the name of the security group that every project has.
const defaultGroup = "default"
