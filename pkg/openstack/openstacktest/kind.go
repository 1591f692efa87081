// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
)

// Kind is a kind of resources that a project can hold.
type Kind struct {
	name    string // in inventories
	service service
	path    string // of the collection
	listing string // of the listing, if that is another
	list    string // member of a listing's answer that holds the items
	member  string // member of an answer, or of a request, that holds one; "" is the whole
	filter  string // parameter for the project's id, where a listing shows more than the project has
	ready   string // status in which it can be used; "": it can be as soon as it is there
	// unblock is the update after which a resource can be removed.
	unblock map[string]any
	// reset is the administrator's action for a resource that is stuck in a status in
	// which its owner cannot delete it.
	reset string
}

// service is the service of a kind: its client, and the variable that shows a test
// whether the service runs.
type service struct {
	variable string
	client   func(*openstack.Factory, context.Context) (*gophercloud.ServiceClient, error)
}

var (
	cinder  = service{"KARBOR_TEST_CINDER", (*openstack.Factory).BlockStorage}
	glance  = service{"KARBOR_TEST_GLANCE", (*openstack.Factory).Image}
	manila  = service{"KARBOR_TEST_MANILA", (*openstack.Factory).Share}
	neutron = service{"KARBOR_TEST_NEUTRON", (*openstack.Factory).Network}
	nova    = service{"KARBOR_TEST_NOVA", (*openstack.Factory).Compute}
)

// unnamed removes a fault that a test requested from a resource that is about to be
// deleted.
var unnamed = map[string]any{"name": "", "metadata": map[string]any{"fault": ""}}

// unrouted removes a router's routes, which keep its interfaces in use.
var unrouted = map[string]any{"routes": []any{}}

// The kinds that have helpers. Inventories list containers too.
var (
	Server         = Kind{name: "server", service: nova, path: "servers", listing: "servers/detail", list: "servers", member: "server", ready: "ACTIVE", unblock: map[string]any{"name": "removed"}, reset: "os-resetState"}
	KeyPair        = Kind{name: "key pair", service: nova, path: "os-keypairs", list: "keypairs", member: "keypair"}
	FloatingIP     = Kind{name: "floating IP", service: neutron, path: "floatingips", list: "floatingips", member: "floatingip", filter: "project_id"}
	Router         = Kind{name: "router", service: neutron, path: "routers", list: "routers", member: "router", filter: "project_id", unblock: unrouted}
	Port           = Kind{name: "port", service: neutron, path: "ports", list: "ports", member: "port", filter: "project_id"}
	Subnet         = Kind{name: "subnet", service: neutron, path: "subnets", list: "subnets", member: "subnet", filter: "project_id"}
	Network        = Kind{name: "network", service: neutron, path: "networks", list: "networks", member: "network", filter: "project_id", ready: "ACTIVE"}
	SecurityGroup  = Kind{name: "security group", service: neutron, path: "security-groups", list: "security_groups", member: "security_group", filter: "project_id"}
	VolumeBackup   = Kind{name: "volume backup", service: cinder, path: "backups", listing: "backups/detail", list: "backups", member: "backup", ready: "available", reset: "os-reset_status"}
	VolumeSnapshot = Kind{name: "volume snapshot", service: cinder, path: "snapshots", listing: "snapshots/detail", list: "snapshots", member: "snapshot", ready: "available", unblock: unnamed, reset: "os-reset_status"}
	Volume         = Kind{name: "volume", service: cinder, path: "volumes", listing: "volumes/detail", list: "volumes", member: "volume", ready: "available", unblock: unnamed, reset: "os-reset_status"}
	ShareSnapshot  = Kind{name: "share snapshot", service: manila, path: "snapshots", listing: "snapshots/detail", list: "snapshots", member: "snapshot", ready: "available", reset: "os-reset_status",
		unblock: map[string]any{"display_name": "", "display_description": ""}}
	Share = Kind{name: "share", service: manila, path: "shares", listing: "shares/detail", list: "shares", member: "share", ready: "available", reset: "os-reset_status",
		unblock: map[string]any{"display_name": "", "display_description": ""}}
	Image = Kind{name: "image", service: glance, path: "images", list: "images", filter: "owner"}
)

// SecurityGroupRule is a kind that inventories omit, because rules are deleted with
// their group.
var SecurityGroupRule = Kind{name: "security group rule", service: neutron, path: "security-group-rules", list: "security_group_rules", member: "security_group_rule", filter: "project_id"}

// kinds are in the order in which a project is emptied.
var kinds = []Kind{
	Server, KeyPair, FloatingIP, Router, Port, Subnet, Network, SecurityGroup,
	VolumeBackup, VolumeSnapshot, Volume, ShareSnapshot, Share, Image,
}

func (k Kind) listed() string {
	if k.listing != "" {
		return k.listing
	}
	return k.path
}
