// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
	"github.com/karbor-project/karbor/providers/protection"
)

// wantRemarks compares the aspects of all remarks, and looks for a text in each.
func wantRemarks(t *testing.T, got, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("aspects (-want +got):\n%s", diff)
	}
	for aspect, text := range want {
		if !strings.Contains(got[aspect], text) {
			t.Errorf("%s: %q lacks %q", aspect, got[aspect], text)
		}
	}
}

// What of a topology no restore brings back is known when it is protected.
func TestWhatNoRestoreBringsBackIsRemarked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange func(c *cloud)
		want    map[string]string
	}{
		"nothing":  {func(*cloud) {}, map[string]string{}},
		"a policy": {func(c *cloud) { c.front["qos_policy_id"] = "q1" }, map[string]string{"network attributes": `qos_policy_id "q1" of network "front" -> `}},
		"a pool":   {func(c *cloud) { c.backSubnet["subnetpool_id"] = "p1" }, map[string]string{"network attributes": `subnetpool_id "p1" of subnet "back4" -> `}},
		"tags":     {func(c *cloud) { c.nic["tags"] = array{"a"} }, map[string]string{"network attributes": `tags ["a"] of port "nic" -> `}},
		"zones":    {func(c *cloud) { c.router["availability_zone_hints"] = array{"az1"} }, map[string]string{"network attributes": `availability_zone_hints ["az1"] of router "edge" -> `}},
		"a floating IP": {func(c *cloud) {
			c.Add(neutron.FloatingIPs, thing{"floating_network_id": c.public.ID(), "floating_ip_address": "203.0.113.9"})
		}, map[string]string{"spare floating IP": "203.0.113.9 -> "}},
		"a network to outside": {func(c *cloud) { c.back["router:external"] = true }, map[string]string{"network attributes": `router:external true of network "back" -> `}},
		"rules of all": {func(c *cloud) {
			c.Add(neutron.Rules, thing{"security_group_id": c.Things(neutron.Groups)[0].ID(), "direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22})
		}, map[string]string{"rules of the default group": "ingress IPv4 tcp 22 22 any any any -> "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			tc.arrange(c)
			wantRemarks(t, protected(t, c).Remarks.Aspects(), tc.want)
		})
	}
}

// What comes back otherwise than it was is remarked by the restore.
func TestWhatComesBackOtherwiseIsRemarked(t *testing.T) {
	t.Parallel()
	// The port on the administrator's network gets no address of the caller's choice.
	always := map[string]string{"addresses of a port": "203.0.113.", "MAC address of a port": "fa:16:3e:00:00:03 of port "}
	with := func(more map[string]string) map[string]string {
		all := maps.Clone(always)
		maps.Copy(all, more)
		return all
	}
	outside := map[string]string{"port": " on network ", "gateway of a router": `of router "edge" -> `}
	for name, tc := range map[string]struct {
		before, after func(c *cloud)
		want          map[string]string
	}{
		"as it was": {func(*cloud) {}, func(*cloud) {}, always},
		"shared": {func(c *cloud) { c.front["shared"] = true }, func(*cloud) {},
			with(map[string]string{"sharing of a network": `network "front" was shared with all projects -> not shared`})},
		"a router into a foreign network": {func(c *cloud) {
			c.Add(neutron.Ports, thing{"network_id": c.public.ID(), "device_id": c.router.ID(), "device_owner": "network:router_interface", "security_groups": array{}})
		}, func(*cloud) {}, with(map[string]string{"interface of a router": " of router "})},
		"no outside": {func(*cloud) {}, (*cloud).dropPublic, outside},
		"no way outside": {func(c *cloud) {
			c.router["routes"] = array{object{"destination": "10.7.0.0/16", "nexthop": "203.0.113.1"}}
		}, (*cloud).dropPublic, func() map[string]string {
			all := maps.Clone(outside)
			all["routes of a router"] = `"nexthop": "203.0.113.1"}] of router "edge" -> `
			return all
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			tc.before(c)
			h := protected(t, c)
			tc.after(c)
			must(t, restore(t, c, h))
			wantRemarks(t, h.Remarks.Aspects(), tc.want)
		})
	}
}

// dropPublic lets the network to the outside be gone, with all that is on it.
func (c *cloud) dropPublic() {
	for _, p := range c.Things(neutron.Ports) {
		if p["network_id"] == c.public.ID() {
			c.Drop(neutron.Ports, p.ID())
		}
	}
	c.Drop(neutron.Networks, c.public.ID())
}

// That the network to the outside is gone is foretold, and nothing is made.
func TestWhatIsGoneIsForetold(t *testing.T) {
	t.Parallel()
	for want, after := range map[string]func(c *cloud){"": func(*cloud) {}, `of router "edge" -> `: (*cloud).dropPublic} {
		c := newCloud(t)
		h := protected(t, c)
		after(c)
		before := len(c.Things(neutron.Networks)) + len(c.Things(neutron.Ports)) + len(c.Things(neutron.Routers))
		call := h.Call(theProject)
		call.Remarks, call.NewResources = h.Remarks, &protection.NewResources{}
		operation, err := newPlugin(c).Operation(protection.Restore, call.Resource)
		must(t, err)
		makes, err := operation.Plan(openstacktest.Context(t), call)
		must(t, err)
		if _, front := call.NewResources.Get(c.front.ID()); !front || !strings.Contains(makes["networks"], `"front"`) {
			t.Errorf("planned are %v", makes)
		}
		if got := h.Remarks.Aspects()["gateway of a router"]; !strings.HasSuffix(got, want) || (got == "") != (want == "") {
			t.Errorf("foretold is %q", got)
		}
		if now := len(c.Things(neutron.Networks)) + len(c.Things(neutron.Ports)) + len(c.Things(neutron.Routers)); now != before {
			t.Errorf("%d things have become %d", before, now)
		}
	}
}

// A network has the MTU that the old one had, or the cloud's, with a remark. That the caller
// may not share it costs it nothing else.
func TestMTU(t *testing.T) {
	t.Parallel()
	for mtu, want := range map[int]string{1400: "", 9000: `9000 of network "front" -> 1450`} {
		c := newCloud(t)
		c.front["mtu"], c.front["shared"] = mtu, want == ""
		h := protected(t, c)
		if want != "" {
			c.MaxMTU = 1450
		}
		must(t, restore(t, c, h))
		if got := h.Remarks.Aspects()["MTU of a network"]; got != want {
			t.Errorf("remarked is %q", got)
		}
		id, _ := h.NewResources.Get(c.front.ID())
		for _, n := range c.Things(neutron.Networks) {
			if got := fmt.Sprint(n["mtu"]); n.ID() == id && (got == fmt.Sprint(mtu)) != (want == "") {
				t.Errorf("the MTU is %s", got)
			}
		}
	}
}
