// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// protected returns a flow with the topology of the cloud in its checkpoint.
func protected(t *testing.T, c *cloud) *plugintest.Harness {
	t.Helper()
	h := plugintest.New(t)
	must(t, h.Run(openstacktest.Context(t), newPlugin(c), protection.Protect, h.Call(theProject)))
	return h
}

func restore(t *testing.T, c *cloud, h *plugintest.Harness, parameters ...string) error {
	t.Helper()
	return h.Run(openstacktest.Context(t), newPlugin(c), protection.Restore, h.Call(theProject, parameters...))
}

// restored returns what stands for something now.
func restored(t *testing.T, c *cloud, h *plugintest.Harness, collection string, original thing) thing {
	t.Helper()
	id, ok := h.NewResources.Get(original.ID())
	found := c.Find(collection, id)
	if !ok || found == nil || id == original.ID() {
		t.Fatalf("%s %s was restored as %q: %v", collection, original.ID(), id, found)
	}
	return found
}

func TestMetadataHasTheFormOfTheOriginal(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := protected(t, c)
	if status := h.Text(theProject, "status"); status != "available" {
		t.Errorf("status %q", status)
	}
	var got map[string]any
	must(t, json.Unmarshal([]byte(h.Text(theProject, "metadata")), &got))
	if diff := cmp.Diff([]string{
		"backup_name", "network_metadata", "port_metadata", "resource_id", "router_metadata", "security-group_metadata", "subnet_metadata",
	}, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got["resource_id"] != openstacktest.Project || got["backup_name"] != "karbor network backup" {
		t.Errorf("resource %v, name %v", got["resource_id"], got["backup_name"])
	}
	want := object{
		"id": c.frontSubnet.ID(), "network_id": c.front.ID(), "name": "front4", "description": "of the front", "cidr": "10.1.0.0/24", "ip_version": 4.0,
		"gateway_ip": "10.1.0.1", "enable_dhcp": true, "dns_nameservers": array{"10.1.0.53"},
		"host_routes":       array{object{"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"}},
		"allocation_pools":  array{object{"start": "10.1.0.10", "end": "10.1.0.99"}},
		"ipv6_address_mode": nil, "ipv6_ra_mode": nil, "subnetpool_id": nil, "tenant_id": openstacktest.Project,
	}
	if diff := cmp.Diff(want, got["subnet_metadata"].(object)[c.frontSubnet.ID()]); diff != "" {
		t.Errorf("subnet (-want +got):\n%s", diff)
	}
	if _, others := got["network_metadata"].(object)[c.public.ID()]; others {
		t.Error("a network of another project is in the backup")
	}
	if rules := got["security-group_metadata"].(object)[c.web.ID()].(object)["security_group_rules"].(array); len(rules) != 4 {
		t.Errorf("rules: %v", rules)
	}
	if up := got["router_metadata"].(object)[c.router.ID()].(object)["admin_state_up"]; up != true {
		t.Errorf("router is up: %v", up)
	}
}

func TestRestoreInASecondCopy(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.PageSize = 2
	before, err := c.Inventory(t.Context())
	must(t, err)
	h := protected(t, c)
	must(t, restore(t, c, h))
	after, err := c.Inventory(t.Context())
	must(t, err)
	// All there was is there twice, but for what is not the project's to restore.
	count := func(lines []string) map[string]int {
		n := map[string]int{}
		for _, line := range lines {
			n[line]++
		}
		return n
	}
	was, is := count(before), count(after)
	for line, n := range was {
		want := 2 * n
		switch {
		case strings.HasPrefix(line, `network "public"`), strings.HasPrefix(line, "subnet \"\" \"\" of public"), strings.Contains(line, "of default"),
			strings.HasPrefix(line, `security_group "default"`), strings.Contains(line, "network:dhcp"), strings.Contains(line, "of public"),
			strings.Contains(line, "compute:nova"):
			want = n
		}
		if is[line] != want {
			t.Errorf("%d, not %d, of %s", is[line], want, line)
		}
	}
	nic := restored(t, c, h, neutron.Ports, c.nic)
	if nic["device_id"] != "" || nic["device_owner"] != "" || nic["mac_address"] != "fa:16:3e:00:00:01" {
		t.Errorf("the port of the server: %v", nic)
	}
	web := restored(t, c, h, neutron.Groups, c.web)
	byDefault := c.Things(neutron.Groups)[0].ID()
	if diff := cmp.Diff(array{web.ID(), byDefault}, nic["security_groups"]); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if id, _ := h.NewResources.Get(byDefault); id != byDefault {
		t.Errorf("the default group became %q", id)
	}
	if id, _ := h.NewResources.Get(theProject.ID); id != openstacktest.Project {
		t.Errorf("the resource became %q", id)
	}
	records := h.Status.Records()
	last := records[len(records)-1]
	if last.Status != protection.StatusAvailable || last.ID != openstacktest.Project || !strings.Contains(last.Reason, "addresses of a port: was ") {
		t.Errorf("the last of %v", records)
	}
}

func TestThingsAreMadeInTheOrderOfTheirNeeds(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := protected(t, c)
	must(t, restore(t, c, h))
	var order []string
	for _, call := range c.Calls("P") {
		path := strings.TrimPrefix(call.Path, openstacktest.Neutron+"/")
		if strings.Contains(path, "add_router_interface") {
			path = "interfaces"
		} else if call.Method == "PUT" {
			path = "finish"
		}
		if len(order) == 0 || order[len(order)-1] != path {
			order = append(order, path)
		}
	}
	want := []string{"networks", "security-groups", "security-group-rules", "subnets", "routers", "ports", "interfaces", "ports", "interfaces", "finish"}
	other := []string{"networks", "security-groups", "security-group-rules", "subnets", "routers", "ports", "interfaces", "finish"}
	if !slices.Equal(order, want) && !slices.Equal(order, other) {
		t.Errorf("got %v", order)
	}
	for _, call := range c.Calls("POST " + openstacktest.Neutron + "/subnets") {
		if strings.Contains(call.Body, `"10.1.0.0/24"`) && !strings.Contains(call.Body, `"enable_dhcp":false`) {
			t.Errorf("DHCP runs before the ports have their addresses: %s", call.Body)
		}
	}
}

// Addresses in automatic subnets follow from MAC addresses, so that an interface which
// is made as a port has to have its own again.
func TestInterfaceHasItsMACAddress(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := protected(t, c)
	must(t, restore(t, c, h))
	found := map[any]int{}
	for _, port := range c.Things(neutron.Ports) {
		for _, ip := range port["fixed_ips"].(array) {
			if ip.(thing)["ip_address"] == "10.1.0.9" {
				found[port["mac_address"]]++
			}
		}
	}
	if len(found) != 1 {
		t.Errorf("MAC addresses of the interface, before and after: %v", found)
	}
}

func TestNameOfTheRestoredNetwork(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := protected(t, c)
	must(t, restore(t, c, h, "restore_name", "again"))
	if name := restored(t, c, h, neutron.Networks, c.front)["name"]; name != "again-front" {
		t.Errorf("one of two networks is named %v", name)
	}
	alone := &cloud{Service: neutron.New(t)}
	network := alone.Add(neutron.Networks, thing{"name": "only"})
	h = protected(t, alone)
	must(t, restore(t, alone, h, "restore_name", "again"))
	if name := restored(t, alone, h, neutron.Networks, network)["name"]; name != "again" {
		t.Errorf("the only network is named %v", name)
	}
}

func TestWrongParameters(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := protected(t, c)
	err := restore(t, c, h, "public_network", "x")
	if !fault.Is(err, "InvalidInput") || !strings.Contains(err.Error(), "public_network") {
		t.Errorf("got %v", err)
	}
	if len(c.Calls("POST")) > 0 {
		t.Error("something was made")
	}
}

// The original's metadata lack what it did not know, and have rules as Neutron
// gave them.
func TestRestoreOfAnOriginalsBackup(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := plugintest.New(t)
	text, err := os.ReadFile("testdata/original.json")
	must(t, err)
	call := h.Call(theProject)
	must(t, call.Section.PutBytes(t.Context(), protection.MetadataKey, text))
	must(t, call.PutStatus(t.Context(), protection.StatusAvailable))
	must(t, h.Run(openstacktest.Context(t), newPlugin(c), protection.Verify, h.Call(theProject)))
	must(t, restore(t, c, h))
	lines, err := c.Inventory(t.Context())
	must(t, err)
	for _, want := range []string{
		`network "private" "" [] ACTIVE shared false up true secure true`,
		`router "r1" "" ACTIVE to - routes []`,
		`port "" "" of private ACTIVE owner "network:router_interface" at r1 groups [] 192.168.9.1`,
		`port "p1" "mine" of private DOWN owner "" at - groups [ssh] 192.168.9.20`,
		`security_group_rule "" "" of ssh ingress IPv4 tcp 22 22 0.0.0.0/0 -`,
	} {
		if !slices.ContainsFunc(lines, func(line string) bool {
			return strings.ReplaceAll(line, "DOWN owner \"network", "ACTIVE owner \"network") == want
		}) {
			t.Errorf("%s is not among\n%s", want, strings.Join(lines, "\n"))
		}
	}
	records := h.Status.Records()
	if reason := records[len(records)-1].Reason; !strings.Contains(reason, `of router "r1", is none`) {
		t.Errorf("the external network is gone, but the reason is %q", reason)
	}
}

func TestFailureCleansUpAndNamesWhatIsLeft(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := protected(t, c)
	before, err := c.Inventory(t.Context())
	must(t, err)
	c.Refuse("PUT /add_router_interface", http.StatusConflict, "OverQuota", "Quota exceeded for resources: ['port'].")
	err = restore(t, c, h)
	if !fault.Is(err, "RestoreResourceFailed") || !strings.Contains(err.Error(), "Quota exceeded") {
		t.Errorf("got %v", err)
	}
	after, err := c.Inventory(t.Context())
	must(t, err)
	slices.Sort(before)
	slices.Sort(after)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	h.State = &plugintest.State{}
	known := map[string]bool{}
	for _, port := range c.Things(neutron.Ports) {
		known[port.ID()] = true
	}
	call := h.Call(theProject)
	call.Progress = func(int) { // somebody uses a new network meanwhile
		for _, n := range c.Things(neutron.Networks) {
			if strings.HasPrefix(n["description"].(string), "karbor ") && n["name"] == "back" && !known[n.ID()] {
				known[n.ID()] = true
				c.Add(neutron.Ports, thing{"network_id": n.ID(), "name": "other"})
			}
		}
	}
	call.Parameters = protection.Parameters{}
	err = h.Run(openstacktest.Context(t), newPlugin(c), protection.Restore, call)
	if err == nil || !strings.Contains(err.Error(), "is left behind: Unable to complete operation on network") {
		t.Errorf("got %v", err)
	}
	records := h.Status.Records()
	if last := records[len(records)-1]; last.Status != protection.StatusError || !strings.Contains(last.Reason, "is left behind") {
		t.Errorf("recorded %v", last)
	}
}

func TestFailedListing(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.Refuse("GET /routers", http.StatusForbidden, "PolicyNotAuthorized", "rule:get_router is disallowed by policy")
	h := plugintest.New(t)
	err := h.Run(openstacktest.Context(t), newPlugin(c), protection.Protect, h.Call(theProject))
	if !fault.Is(err, "GetProtectionNetworkSubResourceFailed") || h.Text(theProject, "status") != "error" {
		t.Errorf("got %v, status %s", err, h.Text(theProject, "status"))
	}
}

func TestVerifyLooksIntoTheMetadata(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := protected(t, c)
	verify := func() error {
		return h.Run(openstacktest.Context(t), newPlugin(c), protection.Verify, h.Call(theProject))
	}
	must(t, verify())
	whole := h.Text(theProject, "metadata")
	call := h.Call(theProject)
	for _, broken := range []string{whole[:len(whole)/2], `{"resource_id": "x"}`, strings.Replace(whole, `"`+c.frontSubnet.ID()+`":`, `"other":`, 1)} {
		must(t, call.Section.PutBytes(t.Context(), protection.MetadataKey, []byte(broken)))
		if err := verify(); !fault.Is(err, "VerifyResourceFailed") {
			t.Errorf("got %v of %.60s", err, broken)
		}
	}
	must(t, call.PutStatus(t.Context(), "error"))
	if err := verify(); err == nil || !strings.Contains(err.Error(), "The status of network backup status is error.") {
		t.Errorf("got %v", err)
	}
}

// An administrator of project "project" protected somebody else's topology: the
// original wrote it below its own project.
func TestBackupBelowTheCheckpointsProject(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := protected(t, c)
	own, other := h.Call(theProject).Section, h.Call(theProject)
	var err error
	other.Section, err = h.Checkpoint.Section("project")
	must(t, err)
	for _, key := range []string{protection.MetadataKey, protection.StatusKey} {
		_, err := other.Section.CopyFrom(t.Context(), own, key)
		must(t, err)
		must(t, own.Delete(t.Context(), key))
	}
	for _, kind := range []protection.Kind{protection.Verify, protection.Restore, protection.Delete} {
		must(t, h.Run(openstacktest.Context(t), newPlugin(c), kind, h.Call(theProject)))
	}
	status, err := other.Section.GetText(t.Context(), protection.StatusKey)
	must(t, err)
	if status != protection.StatusDeleted {
		t.Errorf("status %s", status)
	}
}

func TestSchemasOfTheOriginal(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/schemas.json")
	must(t, err)
	var want map[string]any
	must(t, json.Unmarshal(data, &want))
	got := map[string]any{}
	for name, schema := range map[string]json.RawMessage{"OPTIONS_SCHEMA": schemas.Options, "RESTORE_SCHEMA": schemas.Restore, "SAVED_INFO_SCHEMA": schemas.SavedInfo, "VERIFY_SCHEMA": schemas.Verify} {
		var value any
		must(t, json.Unmarshal(schema, &value))
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
