// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/nova"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// flow is an estate whose server is protected.
type flow struct {
	*plugintest.Harness
	*estate
	t *testing.T
}

func protected(t *testing.T, e *estate) *flow {
	t.Helper()
	f := &flow{plugintest.New(t), e, t}
	must(t, f.do(protection.Protect))
	return f
}

func (f *flow) do(kind protection.Kind, parameters ...string) error {
	f.t.Helper()
	return f.doIn(openstacktest.Context(f.t), kind, parameters...)
}

func (f *flow) doIn(ctx context.Context, kind protection.Kind, parameters ...string) error {
	f.t.Helper()
	call := f.Call(f.server, parameters...)
	call.Graph = f.graph
	if kind == protection.Restore {
		for original, restored := range f.restored {
			f.NewResources.Set(original, restored)
		}
	}
	return f.Run(ctx, newPlugin(f), kind, call)
}

// lose lets the old server be gone.
func (f *flow) lose() *flow {
	f.Destroy(f.server.ID)
	return f
}

// foretell plans a restore that is to remark something.
func (f *flow) foretell(want map[string]string, parameters ...string) error {
	f.t.Helper()
	call := f.Call(f.server, parameters...)
	call.Graph, call.NewResources = f.graph, &protection.NewResources{}
	for original := range f.restored {
		call.NewResources.Set(original, original)
	}
	return plugintest.Foretell(openstacktest.Context(f.t), f.Harness, newPlugin(f), call, want)
}

// made returns the restored server and the last record of it.
func (f *flow) made() (nova.Server, plugintest.Record) {
	f.t.Helper()
	id, _ := f.NewResources.Get(f.server.ID)
	for _, s := range f.Servers() {
		if s.ID == id {
			records := f.Status.Records()
			return s, records[len(records)-1]
		}
	}
	f.t.Fatalf("there is no server %q", id)
	return nova.Server{}, plugintest.Record{}
}

func (f *flow) metadata() map[string]any {
	f.t.Helper()
	var got map[string]any
	must(f.t, json.Unmarshal([]byte(f.Text(f.server, "metadata")), &got))
	return got
}

// A server is protected with all that it is made of, or not at all.
func TestProtectWantsAllParts(t *testing.T) {
	t.Parallel()
	for name, image := range map[string]string{"image": imageID, "volume": ""} {
		for at := range newEstate(t, image).graph.Roots[0].Children[0].Children {
			e := newEstate(t, image)
			node := e.graph.Roots[0].Children[0]
			left := node.Children[at]
			node.Children = slices.Delete(node.Children, at, at+1)
			f := &flow{plugintest.New(t), e, t}
			err := f.do(protection.Protect)
			if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), left.ID+", which ") || f.Text(e.server, "status") != "error" {
				t.Errorf("booted from %s, without %s: %v", name, left.Key(), err)
			}
		}
	}
}

func attachmentOf(v nova.Volume, bootable string) object {
	return object{
		"id": v.ID, "attachment_id": "a" + v.ID[1:], "volume_id": v.ID, "server_id": v.ServerID, "host_name": nil, "device": v.Device,
		"attached_at": "2026-01-02T03:04:05.000000", "bootable": bootable,
	}
}

func TestMetadataHasTheFormOfTheOriginal(t *testing.T) {
	t.Parallel()
	for name, image := range map[string]string{"image": imageID, "volume": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := protected(t, newEstate(t, image))
			got := f.metadata()
			attached := object{f.data.ID: attachmentOf(f.Volume(f.data.ID), "false"), f.spare.ID: attachmentOf(f.Volume(f.spare.ID), "true")}
			boot := object{"boot_device_type": "image", "boot_image_id": image}
			if image == "" {
				root := attachmentOf(f.Volume(f.root.ID), "true")
				attached[f.root.ID] = root
				boot = object{"boot_device_type": "volume", "boot_volume_id": f.root.ID, "boot_attach_metadata": root}
			}
			server := got["server_metadata"].(object)
			interfaces := server["interfaces"].(array)
			for _, more := range []string{"interfaces", "floating_ip_targets", "metadata"} {
				delete(server, more)
			}
			want := object{
				"resource_id": f.server.ID, "attach_metadata": attached, "boot_metadata": boot,
				"server_metadata": object{
					"availability_zone": "nova", "networks": array{f.back.ID(), f.front.ID()}, "floating_ips": array{"203.0.113.9"},
					"flavor": "1", "key_name": "mine", "security_groups": array{object{"name": "web"}},
				},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(interfaces) != 2 || len(interfaces[0].(object)["fixed_ips"].(array)) != 2 {
				t.Errorf("interfaces %v", interfaces)
			}
		})
	}
}

// What a call asks for and reads does not depend on the microversion that an operator
// sets, and multiattach volumes come back to where they were.
func TestMicroversions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "2.46", "2.90"} {
		for name, cards := range map[string]bool{"cards": true, "no cards": false} {
			t.Run(version+" "+name, func(t *testing.T) {
				t.Parallel()
				e := newEstate(t, "")
				e.SetMicroversion("nova", version)
				if !cards {
					e.Drop(neutron.FloatingIPs, e.ip.ID())
					e.Release(e.frontNic.ID(), true)
					e.Release(e.backNic.ID(), true)
				}
				f := protected(t, e)
				if got := f.metadata()["server_metadata"].(object)["flavor"]; got != "1" {
					t.Errorf("flavor %q", got)
				}
				for _, original := range []*nova.Volume{f.root, f.data} {
					v := f.AddVolume("shared", original.Bootable)
					v.Multiattach, f.restored[original.ID] = true, v.ID
				}
				must(t, f.lose().do(protection.Restore))
				s, _ := f.made()
				if body := f.Calls("POST " + openstacktest.Nova + "/servers")[0].Body; strings.Contains(body, `"networks":"none"`) == cards {
					t.Errorf("the request is %s", body)
				}
				for _, id := range f.restored {
					if v := f.Volume(id); v.ServerID != s.ID || v.Status != "in-use" {
						t.Errorf("volume %+v", v)
					}
				}
			})
		}
	}
}

// A Nova that knows no multiattach attaches what it knows.
func TestOldNova(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "")
	e.Newest = 53
	f := protected(t, e).lose()
	must(t, f.do(protection.Restore))
	if s, _ := f.made(); f.Volume(f.restored[f.data.ID]).ServerID != s.ID {
		t.Error("the volume is not attached")
	}
}

func TestRestoredServerIsAsItWas(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, "")).lose()
	f.Delete(f.frontNic)
	must(t, f.do(protection.Restore, "restore_name", "new", "restore_flavor_id", "2"))
	s, record := f.made()
	if s.Name != "new" || s.Flavor != "2" || s.Key != "mine" || s.Zone != "nova" || s.Status != "ACTIVE" || s.Metadata["role"] != "db" {
		t.Errorf("server %+v", s)
	}
	for original, device := range map[string]string{f.root.ID: "/dev/vda", f.data.ID: "/dev/vdb", f.spare.ID: "/dev/vdc"} {
		if v := f.Volume(f.restored[original]); v.ServerID != s.ID || v.Device != device || v.Status != "in-use" {
			t.Errorf("volume %+v, want it at %s", v, device)
		}
	}
	nics := f.Nics(s.ID)
	if len(nics) != 2 {
		t.Fatalf("cards %+v", nics)
	}
	var floating []string
	for _, nic := range nics {
		floating = append(floating, nic.Floating...)
		if nic.Network == "front" && !slices.Equal(nic.Fixed, []string{"10.1.0.20"}) {
			t.Errorf("addresses %v on the front", nic.Fixed)
		}
	}
	if !slices.Equal(floating, []string{"203.0.113.9"}) {
		t.Errorf("floating IPs %v", floating)
	}
	if record.Status != protection.StatusAvailable || record.ID != s.ID || !strings.Contains(record.Reason, "addresses: was 10.2.0.20, 10.2.0.21 on network "+f.back.ID()+", is 10.2.0.2 on network "+f.back.ID()) {
		t.Errorf("recorded %+v: the old port keeps its addresses", record)
	}
}

// Delete removes a port that outlived its server.
func (f *flow) Delete(port thing) { f.Release(port.ID(), true) }

func TestAllAddressesOfACard(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, imageID)).lose()
	f.Delete(f.frontNic)
	f.Delete(f.backNic)
	must(t, f.do(protection.Restore))
	s, record := f.made()
	if s.Name != "karbor-restore-server" || s.Image != "restored-image" || record.Reason != "" {
		t.Errorf("server %+v, recorded %+v", s, record)
	}
	var fixed []string
	for _, nic := range f.Nics(s.ID) {
		fixed = append(fixed, nic.Fixed...)
	}
	slices.Sort(fixed)
	if diff := cmp.Diff([]string{"10.1.0.20", "10.2.0.20", "10.2.0.21"}, fixed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Nova gives each of its ports all groups that it was asked for.
func TestGroupsOfEachCard(t *testing.T) {
	t.Parallel()
	e := newEstate(t, imageID)
	inner := e.Add(neutron.Groups, thing{"name": "inner"})
	e.backNic["security_groups"] = array{inner.ID()}
	f := protected(t, e).lose()
	f.Delete(f.frontNic)
	f.Delete(f.backNic)
	must(t, f.do(protection.Restore))
	s, record := f.made()
	if record.Reason != "" {
		t.Errorf("recorded %+v", record)
	}
	for _, port := range f.Things(neutron.Ports) {
		if port["device_id"] != s.ID {
			continue
		}
		want := f.frontNic["security_groups"]
		if port["network_id"] == f.back.ID() {
			want = array{inner.ID()}
		}
		if diff := cmp.Diff(want, port["security_groups"]); diff != "" {
			t.Errorf("groups of the port on network %v (-want +got):\n%s", port["network_id"], diff)
		}
	}
}

// The networks were restored beside the server: it takes the ports that stand for
// its own.
func TestServerOnRestoredPorts(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, imageID))
	network := f.Add(neutron.Networks, thing{"name": "new front"})
	subnet := f.Add(neutron.Subnets, thing{"network_id": network.ID(), "cidr": "10.1.0.0/24", "ip_version": 4})
	port := f.Add(neutron.Ports, thing{"network_id": network.ID(), "fixed_ips": array{thing{"subnet_id": subnet.ID(), "ip_address": "10.1.0.20"}}})
	f.restored[f.frontNic.ID()], f.restored[f.front.ID()] = port.ID(), network.ID()
	must(t, f.do(protection.Restore))
	s, record := f.made()
	if port["device_id"] != s.ID {
		t.Errorf("the port is for %v", port["device_id"])
	}
	// The old server is there still.
	if !strings.Contains(record.Reason, "floating IP: was 203.0.113.9, is none (it is in use)") {
		t.Errorf("recorded %+v", record)
	}
	for _, call := range f.Calls("POST " + openstacktest.Nova + "/servers") {
		if strings.HasSuffix(call.Path, "/servers") && !strings.Contains(call.Body, `{"port":"`+port.ID()+`"}`) {
			t.Errorf("asked for %s", call.Body)
		}
	}
}

func TestWhatIsGoneIsLeftOutWithARemark(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, imageID)).lose()
	f.KeyPairs, f.Zones = nil, []string{"other"}
	f.Drop(neutron.FloatingIPs, f.ip.ID())
	f.Delete(f.frontNic)
	f.Delete(f.backNic)
	webID := ""
	for _, group := range f.Things(neutron.Groups) {
		if group["name"] == "web" {
			webID = group.ID()
			f.Drop(neutron.Groups, webID)
		}
	}
	must(t, f.do(protection.Restore))
	s, record := f.made()
	if s.Key != "" || s.Zone != "" || len(s.Groups) > 0 {
		t.Errorf("server %+v", s)
	}
	want := map[string]string{"key pair": "mine -> ", "availability zone": "nova -> Nova's choice", "floating IP": "203.0.113.9 -> ",
		"security group": webID + " -> "}
	if diff := cmp.Diff(want, f.Remarks.Aspects()); diff != "" {
		t.Errorf("remarks (-want +got):\n%s", diff)
	}
	if !strings.Contains(record.Reason, "key pair: was mine, is none (the user who restores has none of that name)") {
		t.Errorf("the reason is %q", record.Reason)
	}
}

// Of servers booted from one image, each comes back from its own.
func TestBootsFromItsOwnImage(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, imageID)).lose()
	f.Images = append(f.Images, "its own image")
	f.restored[imagedata.OfServer(imageID, f.server.ID)] = "its own image"
	must(t, f.do(protection.Restore))
	if s, _ := f.made(); s.Image != "its own image" {
		t.Errorf("booted from %q", s.Image)
	}
}

func TestAnotherNetwork(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, imageID))
	other := f.Add(neutron.Networks, thing{"name": "other"})
	f.Add(neutron.Subnets, thing{"network_id": other.ID(), "cidr": "10.3.0.0/24", "ip_version": 4})
	must(t, f.do(protection.Restore, "restore_net_id", other.ID()))
	s, _ := f.made()
	if nics := f.Nics(s.ID); len(nics) != 1 || nics[0].Network != "other" {
		t.Errorf("cards %+v", nics)
	}
}

// The original noted networks and names of groups, and nothing of ports.
func TestRestoreOfAnOriginalsBackup(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, "")).lose()
	about := f.metadata()
	server := about["server_metadata"].(object)
	for _, more := range []string{"interfaces", "floating_ip_targets", "metadata"} {
		delete(server, more)
	}
	text, err := json.Marshal(about)
	must(t, err)
	must(t, f.Call(f.server).Section.PutBytes(t.Context(), protection.MetadataKey, text))
	again := f.Add(neutron.Groups, thing{"name": "web"}) // of the same restore
	f.restored["whatever"] = again.ID()
	must(t, f.do(protection.Verify))
	must(t, f.do(protection.Restore))
	s, _ := f.made()
	if !slices.Equal(s.Groups, []string{again.ID()}) {
		t.Errorf("groups %v, want %s", s.Groups, again.ID())
	}
	if nics := f.Nics(s.ID); len(nics) != 2 {
		t.Errorf("cards %+v", nics)
	}
	if v := f.Volume(f.restored[f.spare.ID]); v.ServerID != s.ID {
		t.Errorf("a volume of data that could be booted from is not attached: %+v", v)
	}
}

func TestFailuresCleanUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breakIt func(f *flow)
		want    string
	}{
		"start":  {func(f *flow) { f.Fault = "No valid host was found." }, "The server does not start successfully: No valid host was found."},
		"attach": {func(f *flow) { f.Unattached = true }, "Attach the volume to server failed"},
		"refuse": {func(f *flow) { f.Refuse("POST /os-volume_attachments", http.StatusForbidden, "Too many volumes") }, "Attach the volume to server failed: Too many volumes (HTTP 403)"},
		"volume": {func(f *flow) { delete(f.restored, f.root.ID) }, "was not restored"},
		"flavor": {func(f *flow) { f.Flavors = nil }, "There is no flavor 1: restore_flavor_id names another"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := protected(t, newEstate(t, "")).lose()
			before, err := f.Inventory(t.Context())
			must(t, err)
			c.breakIt(f)
			err = f.do(protection.Restore)
			if !fault.Is(err, "RestoreResourceFailed") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			after, err := f.Inventory(t.Context())
			must(t, err)
			slices.Sort(before)
			slices.Sort(after)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			records := f.Status.Records()
			if last := records[len(records)-1]; last.Status != protection.StatusError || !strings.Contains(last.Reason, c.want) {
				t.Errorf("recorded %+v", last)
			}
		})
	}
}

// Nova fails when it does not reach Neutron, and nobody knows whether it has made the
// server.
func TestNovaFailsOnce(t *testing.T) {
	t.Parallel()
	for name, done := range map[string]bool{"nothing is made": false, "it is made": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := protected(t, newEstate(t, "")).lose()
			f.FailOnce("POST /servers", done)
			must(t, f.doIn(openstack.WithOutageTolerance(openstacktest.Context(t), time.Minute), protection.Restore))
			if made, _ := f.made(); made.ID == "" || len(f.Servers()) != 1 {
				t.Errorf("there are %+v", f.Servers())
			}
		})
	}
}

func TestWhatCannotBeRemovedIsNamed(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, "")).lose()
	f.Unattached = true
	id := "0e0f0c0b-0000-4000-8000-000000000008"
	f.Refuse("DELETE /"+id, http.StatusConflict, "Instance is locked")
	err := f.do(protection.Restore)
	if err == nil || !strings.Contains(err.Error(), "Attach the volume to server failed; server "+id+" is left behind: Instance is locked (HTTP 409)") {
		t.Errorf("got %v; servers %+v", err, f.Servers())
	}
}

func TestWrongParameters(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, imageID))
	err := f.do(protection.Restore, "restore_net", "x")
	if !fault.Is(err, "InvalidInput") || !strings.Contains(err.Error(), "restore_net ") {
		t.Errorf("got %v", err)
	}
}

func TestProtectNeedsTheBootDevice(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "")
	node := e.graph.Roots[0].Children[0]
	node.Children = nil
	f := &flow{plugintest.New(t), e, t}
	err := f.do(protection.Protect)
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), "Can not find the boot device of the server") || f.Text(f.server, "status") != "error" {
		t.Errorf("got %v", err)
	}
}

func TestVerifyLooksIntoTheMetadata(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, imageID))
	must(t, f.do(protection.Verify))
	section := f.Call(f.server).Section
	for _, broken := range []string{`{"resource_id": "x"`, `{"resource_id": "x"}`, strings.Replace(f.Text(f.server, "metadata"), "boot_image_id", "other", 1)} {
		must(t, section.PutBytes(t.Context(), protection.MetadataKey, []byte(broken)))
		if err := f.do(protection.Verify); !fault.Is(err, "VerifyResourceFailed") {
			t.Errorf("got %v of %s", err, broken)
		}
	}
}

func TestManyServersInPages(t *testing.T) {
	t.Parallel()
	f := protected(t, newEstate(t, imageID)).lose()
	f.PageSize = 2
	for range 5 {
		f.AddServer("other", imageID, nil)
	}
	// A run that died before it knew what Nova had made.
	must(t, f.do(protection.Restore))
	s, _ := f.made()
	for range 5 {
		f.AddServer("newer", imageID, nil)
	}
	var state restoreState
	text, err := f.State.Load(t.Context())
	must(t, err)
	must(t, json.Unmarshal(text, &state))
	state.ServerID = ""
	text, err = json.Marshal(state)
	must(t, err)
	must(t, f.State.Save(t.Context(), text))
	must(t, f.do(protection.Restore))
	if again, _ := f.made(); again.ID != s.ID || len(f.Servers()) != 11 {
		t.Errorf("there are %d servers", len(f.Servers()))
	}
}

func TestAddressesInTheOrderOfTheServer(t *testing.T) {
	t.Parallel()
	var s server
	must(t, json.Unmarshal([]byte(`{"status": "ACTIVE (rebuilding)", "image": "", "addresses": {"z": [{"addr": "1"}], "a": [{"addr": "2"}, {"addr": "3"}]}}`), &s))
	if s.status() != "ACTIVE" || s.Image != "" || len(s.Networks) != 3 || s.Networks[0].Address != "1" || s.Networks[2].Address != "3" {
		t.Errorf("got %+v", s)
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

// A server comes back where the user wants, card by card.
func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		image      string
		parameters []string
		networks   []string
		want       nova.Server // flavor, image, key and zone
		err        string
	}{
		"as it was": {imageID, nil, []string{"back", "front"}, nova.Server{Image: "restored-image", Key: "mine", Zone: "nova"}, ""},
		"all else": {imageID, []string{"restore_networks", "other", "restore_key_name", "yours", "restore_availability_zone", "az2", "restore_image_id", "golden"},
			[]string{"other", "front"}, nova.Server{Image: "golden", Key: "yours", Zone: "az2"}, ""},
		"the second card":    {imageID, []string{"restore_networks", ",other"}, []string{"back", "other"}, nova.Server{Image: "restored-image", Key: "mine", Zone: "nova"}, ""},
		"both cards":         {imageID, []string{"restore_networks", "other, other"}, []string{"other", "other"}, nova.Server{Image: "restored-image", Key: "mine", Zone: "nova"}, ""},
		"all cards, by name": {imageID, []string{"restore_net_id", "other"}, []string{"other"}, nova.Server{Image: "restored-image", Key: "mine", Zone: "nova"}, ""},
		"no such network":    {imageID, []string{"restore_networks", "nowhere"}, nil, nova.Server{}, `restore_networks: 0 networks have the id or name "nowhere"`},
		"too many":           {imageID, []string{"restore_networks", ",,other"}, nil, nova.Server{}, "restore_networks: 3 networks for 2 network cards"},
		"both ways":          {imageID, []string{"restore_networks", "other", "restore_net_id", "other"}, nil, nova.Server{}, "only one of them can be given"},
		"no such key":        {imageID, []string{"restore_key_name", "his"}, nil, nova.Server{}, `restore_key_name: the user who restores has no key pair "his"`},
		"no such zone":       {imageID, []string{"restore_availability_zone", "az9"}, nil, nova.Server{}, `restore_availability_zone: zone "az9" is not there or not available`},
		"no image":           {"", []string{"restore_image_id", "golden"}, nil, nova.Server{}, "restore_image_id is not for this server: it was booted from a volume"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t, c.image)
			e.KeyPairs, e.Zones, e.Images = append(e.KeyPairs, "yours"), append(e.Zones, "az2"), append(e.Images, "golden")
			other := e.Add(neutron.Networks, thing{"name": "other"})
			e.Add(neutron.Subnets, thing{"network_id": other.ID(), "cidr": "10.3.0.0/24", "ip_version": 4})
			f := protected(t, e).lose()
			f.Delete(f.frontNic)
			f.Delete(f.backNic)
			foretold := f.foretell(nil, c.parameters...)
			err := f.do(protection.Restore, c.parameters...)
			if (err == nil) != (foretold == nil) {
				t.Errorf("%v was foretold, and there came %v", foretold, err)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || len(f.Servers()) != 0 {
					t.Errorf("got %v with %d servers, want %s", err, len(f.Servers()), c.err)
				}
				return
			}
			must(t, err)
			s, _ := f.made()
			var networks []string
			for _, n := range f.Nics(s.ID) {
				networks = append(networks, n.Network)
			}
			got := nova.Server{Image: s.Image, Key: s.Key, Zone: s.Zone}
			if diff := cmp.Diff(c.networks, networks); diff != "" || !cmp.Equal(c.want, got, cmpopts.IgnoreUnexported(nova.Server{})) {
				t.Errorf("restored %+v on (-want +got):\n%s", got, diff)
			}
		})
	}
}

// What is gone when a server is to be restored is foretold, in the words in which the
// restore tells of it, and nothing is changed.
func TestWhatIsGoneIsForetold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lose func(f *flow)
		want map[string]string
		err  string
	}{
		"nothing":   {func(*flow) {}, nil, ""},
		"key pair":  {func(f *flow) { f.KeyPairs = nil }, map[string]string{"key pair": "mine -> "}, ""},
		"zone":      {func(f *flow) { f.Zones = []string{"az9"} }, map[string]string{"availability zone": "nova -> Nova's choice"}, ""},
		"address":   {func(f *flow) { f.Drop(neutron.FloatingIPs, f.ip.ID()) }, map[string]string{"floating IP": "203.0.113.9 -> "}, ""},
		"flavor":    {func(f *flow) { f.Flavors = nil }, nil, "There is no flavor 1: restore_flavor_id names another"},
		"its image": {func(f *flow) { delete(f.restored, imageID) }, nil, "The image " + imageID + " of the server was not restored"},
		"a volume":  {func(f *flow) { delete(f.restored, f.data.ID) }, nil, "of the server was not restored"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := protected(t, newEstate(t, imageID)).lose()
			f.Delete(f.frontNic)
			f.Delete(f.backNic)
			f.Remarks = &plugintest.Remarks{}
			c.lose(f)
			foretold := f.foretell(c.want)
			if len(f.Servers()) > 0 {
				t.Error("the plan has made a server")
			}
			err := f.do(protection.Restore)
			if c.err == "" {
				must(t, foretold)
				must(t, err)
				if diff := cmp.Diff(c.want, f.Remarks.Aspects(), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("the restore has remarked (-want +got):\n%s", diff)
				}
				return
			}
			if foretold == nil || err == nil || foretold.Error() != err.Error() || !strings.Contains(err.Error(), c.err) {
				t.Errorf("foretold is %v, and there came %v", foretold, err)
			}
		})
	}
}
