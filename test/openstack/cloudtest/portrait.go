// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// Portrait tells in lines what a server is and what it is connected with, by names
// and by sums of bytes, so that one which was restored can be compared with the
// one that it was made of: flavor, zone, key pair, metadata, what it was booted
// from, its volumes by device, its cards, its floating IPs.
func Portrait(p *openstacktest.RealProject, id string) []string {
	s := p.Show(openstacktest.Server, id)
	lines := []string{
		fmt.Sprintf("server %v %v, flavor %v, zone %v, key pair %v", s["name"], s["status"], part(s, "flavor", "id"),
			s["OS-EXT-AZ:availability_zone"], s["key_name"]),
		fmt.Sprintf("metadata %v", own(s["metadata"])),
	}
	if image := part(s, "image", "id"); image != nil {
		lines = append(lines, fmt.Sprintf("booted from image %v with %s", p.Show(openstacktest.Image, image.(string))["name"], sum(p.DownloadImage(image.(string)))))
	}
	var disks []string
	for _, v := range p.List(openstacktest.Volume) {
		for _, a := range list(v["attachments"]) {
			if a["server_id"] == id {
				disks = append(disks, fmt.Sprintf("volume %v at %v, bootable %v, with %s", v["name"], a["device"], v["bootable"], sum(p.ReadVolume(v["id"].(string)))))
			}
		}
	}
	slices.Sort(disks)
	return slices.Concat(lines, disks, cards(p, id))
}

// cards are the server's, with the floating IPs that lead to them. Their MAC
// addresses are told by Topology.
func cards(p *openstacktest.RealProject, server string) []string {
	names := newNames(p)
	var lines []string
	for _, port := range p.List(openstacktest.Port, "device_id", server) {
		lines = append(lines, fmt.Sprintf("card on %s, %s, groups %s", names.of(port["network_id"]),
			names.addresses(port), names.all(port["security_groups"])))
		for _, ip := range p.List(openstacktest.FloatingIP, "port_id", port["id"].(string)) {
			lines = append(lines, fmt.Sprintf("floating IP %v to %v", ip["floating_ip_address"], ip["fixed_ip_address"]))
		}
	}
	slices.Sort(lines)
	return lines
}

// own leaves the marks of a restore out of metadata.
func own(metadata any) map[string]any {
	kept := map[string]any{}
	all, _ := metadata.(map[string]any)
	for key, value := range all {
		if !strings.HasPrefix(key, "karbor_") {
			kept[key] = value
		}
	}
	return kept
}

func sum(data []byte) string { return fmt.Sprintf("%d bytes %.8x", len(data), sha256.Sum256(data)) }

// part is a member of an object's member, nil if there is none.
func part(object map[string]any, member, name string) any {
	inner, _ := object[member].(map[string]any)
	return inner[name]
}

// list is a JSON array of objects.
func list(array any) []map[string]any {
	var objects []map[string]any
	items, _ := array.([]any)
	for _, item := range items {
		object, _ := item.(map[string]any)
		objects = append(objects, object)
	}
	return objects
}
