// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
)

// unrestored are attributes that no restore brings back, by collection, and unset their
// values where nothing is lost. What only administrators see, and may set, is not among
// them.
var (
	unrestored = map[string][]string{
		networks.collection: {"availability_zone_hints", "dns_domain", "qos_policy_id", "router:external"},
		subnets.collection:  {"dns_publish_fixed_ip", "segment_id", "service_types", "subnetpool_id", "tags"},
		ports.collection:    {"dns_domain", "qos_policy_id", "tags", "trunk_details"},
		routers.collection:  {"availability_zone_hints", "enable_ndp_proxy", "flavor_id", "tags"},
		groups.collection:   {"tags"},
	}
	unset = []string{"", "null", `""`, "[]", "{}", "false"}
)

// remarkUnrestored remarks what of a thing will not come back.
func remarkUnrestored(c *protection.Call, k kind, id string, thing map[string]json.RawMessage) {
	var about struct {
		Name        string `json:"name"`
		DeviceOwner string `json:"device_owner"`
		Rules       []rule `json:"security_group_rules"`
	}
	for name, into := range map[string]any{"name": &about.Name, "device_owner": &about.DeviceOwner, "security_group_rules": &about.Rules} {
		if value, there := thing[name]; there {
			_ = json.Unmarshal(value, into) // what cannot be read stays empty
		}
	}
	if !(port{DeviceOwner: about.DeviceOwner}).ordinary() {
		return // Neutron makes another
	}
	called := fmt.Sprintf("%s %q", k.noun, cmp.Or(about.Name, id))
	for _, name := range unrestored[k.collection] {
		if value := string(thing[name]); !slices.Contains(unset, value) {
			c.Remark(remark.Remark{Aspect: "network attributes", Was: fmt.Sprintf("%s %s of %s", name, value, called), Why: "a restore does not set it"})
		}
	}
	if k != groups || about.Name != defaultGroup {
		return
	}
	for _, r := range about.Rules {
		if !r.initial(id) {
			c.Remark(remark.Remark{Aspect: "rules of the default group", Was: r.says(), Why: "a restore leaves the group as the project has it then"})
		}
	}
}

// initial reports whether a rule is one that Neutron gives to the default group of an id:
// all may be sent, and all of the group's own is received.
// neutron: db/securitygroups_db.py create_security_group
func (r rule) initial(groupID string) bool {
	if r.Protocol != nil || r.PortMin != nil || r.PortMax != nil || r.Prefix != nil || r.Addresses != nil {
		return false
	}
	if r.Direction == "egress" {
		return r.RemoteGroup == nil
	}
	return r.RemoteGroup != nil && *r.RemoteGroup == groupID
}

// floatingIP is one of Neutron's. Those that lead to servers are restored with these.
type floatingIP struct {
	Address string  `json:"floating_ip_address"`
	PortID  *string `json:"port_id"`
}

var floatingIPs = kind{"floatingips", "floatingip", "floating IP"}

// remarkSpare remarks a floating IP that leads nowhere: nothing that is restored asks for it.
func (ip floatingIP) remarkSpare(c *protection.Call) {
	if ip.PortID == nil || *ip.PortID == "" {
		c.Remark(remark.Remark{Aspect: "spare floating IP", Was: ip.Address, Why: "it leads nowhere, and a restore does not ask for it"})
	}
}
