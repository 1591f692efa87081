// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/test/openstack/cloudtest"
)

// kept is what a server needs and is not restored with it: who loses servers and
// their disks has these still.
var kept = []openstacktest.Kind{
	openstacktest.KeyPair, openstacktest.FloatingIP, openstacktest.Router, openstacktest.Subnet, openstacktest.Network,
	openstacktest.SecurityGroup, openstacktest.VolumeBackup,
}

// TestServerOfAnImage takes a server that was booted from an image, with all that
// it can have, through the service and back: two volumes with bytes, three cards,
// one of them with two addresses and groups of its own, a floating IP, a key pair.
// Its networks stay where they are.
func TestServerOfAnImage(t *testing.T) {
	t.Parallel()
	s := cloudtest.New(t)
	p := newProject(t)
	front, subnet := p.CreateNetwork("front")
	back := p.Create(openstacktest.Network, map[string]any{"name": "back"})
	p.Create(openstacktest.Subnet, map[string]any{"network_id": back, "name": "back", "ip_version": 4, "cidr": "10.8.0.0/24"})
	router := p.Create(openstacktest.Router, map[string]any{"name": "router", "external_gateway_info": map[string]any{"network_id": p.PublicNetwork()}})
	p.Plug(router, subnet)
	group := p.Create(openstacktest.SecurityGroup, map[string]any{"name": "web"})
	pair := p.Create(openstacktest.KeyPair, map[string]any{"name": "pair"})
	floating := p.Create(openstacktest.FloatingIP, map[string]any{"floating_network_id": p.PublicNetwork()})
	port := p.Create(openstacktest.Port, map[string]any{"network_id": front, "name": "front", "security_groups": []string{group}, "fixed_ips": []any{
		map[string]any{"subnet_id": subnet, "ip_address": "10.7.0.77"}, map[string]any{"subnet_id": subnet, "ip_address": "10.7.0.78"},
	}})
	p.Update(openstacktest.FloatingIP, floating, map[string]any{"port_id": port, "fixed_ip_address": "10.7.0.78"})
	image := p.UploadImage("disk", openstacktest.Noise(2<<20+1))
	id := p.CreateServer("vm", back, map[string]any{
		"imageRef": image, "key_name": pair, "availability_zone": "nova", "metadata": map[string]any{"role": "web"},
		"networks": []any{map[string]any{"uuid": back, "fixed_ip": "10.8.0.99"}, map[string]any{"port": port}, map[string]any{"uuid": front}},
	})
	parameters := cloudtest.Parameters{resource.Server: {"restore_name": "vm"}, resource.Image: {"restore_name": "disk"}}
	for _, name := range []string{"one", "two"} {
		volume := p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": name})
		p.WriteVolume(volume, 1<<20, openstacktest.Noise(3<<20+1))
		p.Attach(id, volume)
		parameters[resource.Volume+"#"+volume] = map[string]any{"restore_name": name}
	}
	want, before := cloudtest.Portrait(p, id), p.Holdings()
	w, c := s.Start("worker"), s.Client(p)

	checkpoint := c.Protected(resource.Resource{Type: resource.Server, ID: id, Name: "vm"})
	p.RemoveAll(kept...)
	p.Plug(router, subnet) // its interface is a port too
	c.Verified(checkpoint)
	record := c.Restored(checkpoint, parameters)
	checkRemarks(t, record)
	if diff := cmp.Diff(want, cloudtest.Portrait(p, onlyOne(t, record, resource.Server))); diff != "" {
		t.Errorf("the restored server (-want +got):\n%s", diff)
	}
	c.Deleted(checkpoint)
	s.CheckPurged(checkpoint)
	// Nova has made the port anew, which has no name then.
	before[slices.Index(before, "port front ACTIVE")] = "port ACTIVE"
	slices.Sort(before)
	checkHolds(t, p, "in the end", before)
	w.Stop()
}

// TestServerOfAVolume takes one that was booted from a volume.
func TestServerOfAVolume(t *testing.T) {
	t.Parallel()
	s := cloudtest.New(t)
	p := newProject(t)
	network, _ := p.CreateNetwork("private")
	parameters := cloudtest.Parameters{resource.Server: {"restore_name": "vm"}}
	volume := func(name string, body map[string]any) string {
		body["name"], body["size"] = name, 1
		id := p.Create(openstacktest.Volume, body)
		p.WriteVolume(id, 2<<20, openstacktest.Noise(1<<20))
		parameters[resource.Volume+"#"+id] = map[string]any{"restore_name": name}
		return id
	}
	disk, data := volume("disk", map[string]any{"imageRef": p.PublicImage("tiny")}), volume("data", map[string]any{})
	id := p.CreateServer("vm", network, map[string]any{"block_device_mapping_v2": []any{
		map[string]any{"uuid": disk, "source_type": "volume", "destination_type": "volume", "boot_index": 0},
	}})
	p.Attach(id, data)
	want, before := cloudtest.Portrait(p, id), p.Holdings()
	w, c := s.Start("worker"), s.Client(p)

	checkpoint := c.Protected(resource.Resource{Type: resource.Server, ID: id, Name: "vm"})
	p.RemoveAll(kept...)
	record := c.Restored(checkpoint, parameters)
	checkRemarks(t, record)
	if diff := cmp.Diff(want, cloudtest.Portrait(p, onlyOne(t, record, resource.Server))); diff != "" {
		t.Errorf("the restored server (-want +got):\n%s", diff)
	}
	c.Deleted(checkpoint)
	s.CheckPurged(checkpoint)
	checkHolds(t, p, "in the end", before)
	w.Stop()
}
