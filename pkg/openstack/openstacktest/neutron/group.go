// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// newGroup makes a security group, which may send everything from its start.
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
