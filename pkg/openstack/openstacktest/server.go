// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"net/url"

	"github.com/karbor-project/karbor/pkg/openstack"
)

// PublicImage returns the id of an image that everybody sees; "tiny" is there.
func (p *RealProject) PublicImage(name string) string {
	p.t.Helper()
	return p.named(Image, "images", name)
}

// PublicNetwork returns the id of the external network.
func (p *RealProject) PublicNetwork() string {
	p.t.Helper()
	return p.named(Network, "networks", "public")
}

// Flavor returns the id of a flavor: m1.nano, m1.tiny and m1.small are there.
func (p *RealProject) Flavor(name string) string {
	p.t.Helper()
	return p.named(Kind{service: nova, list: "flavors"}, "flavors", name)
}

func (p *RealProject) named(k Kind, path, name string) string {
	p.t.Helper()
	client, err := k.service.client(p.Factory, p.ctx)
	must(p.t, err)
	items, err := openstack.List[item](p.ctx, client, path, k.list, url.Values{"name": {name}})
	must(p.t, err)
	for _, i := range items {
		if i.Name == name {
			return i.ID
		}
	}
	p.t.Fatalf("%s: there is no %q", path, name)
	return ""
}

// CreateNetwork makes a network with one subnet, 10.7.0.0/24, and returns the ids.
func (p *RealProject) CreateNetwork(name string) (network, subnet string) {
	p.t.Helper()
	network = p.Create(Network, map[string]any{"name": name})
	subnet = p.Create(Subnet, map[string]any{"network_id": network, "name": name, "ip_version": 4, "cidr": "10.7.0.0/24"})
	return network, subnet
}

// CreateServer makes a server of flavor m1.nano in a network. more is what its
// request says beside, such as imageRef or block_device_mapping_v2, or other
// networks.
func (p *RealProject) CreateServer(name, network string, more map[string]any) string {
	p.t.Helper()
	body := map[string]any{"name": name, "flavorRef": p.Flavor("m1.nano"), "networks": []any{map[string]any{"uuid": network}}}
	for key, value := range more {
		body[key] = value
	}
	return p.Create(Server, body)
}

// Attach attaches a volume to a server and waits for it.
func (p *RealProject) Attach(serverID, volumeID string) {
	p.t.Helper()
	body := map[string]any{"volumeAttachment": map[string]any{"volumeId": volumeID}}
	must(p.t, p.call(p.ctx, Server, "POST", "servers/"+serverID+"/os-volume_attachments", body, nil))
	p.Await(Volume, volumeID, "in-use")
}

// Detach is the opposite of Attach.
func (p *RealProject) Detach(serverID, volumeID string) {
	p.t.Helper()
	must(p.t, p.call(p.ctx, Server, "DELETE", "servers/"+serverID+"/os-volume_attachments/"+volumeID, nil, nil))
	p.Await(Volume, volumeID, "available")
}

// CreateServerImage makes an image of a server, waits for it and returns its id.
func (p *RealProject) CreateServerImage(serverID, name string) string {
	p.t.Helper()
	p.Act(Server, serverID, "createImage", map[string]any{"name": name}, nil)
	// The answer names the image in a header only; the project has no other of that name.
	id := p.named(Image, "images", name)
	p.Await(Image, id, "active")
	// The image is ready a little before the server is free for what comes next.
	p.until(func() bool { return p.Show(Server, serverID)["OS-EXT-STS:task_state"] == nil })
	return id
}

// Plug connects a router with a subnet, at the address of its gateway.
func (p *RealProject) Plug(routerID, subnetID string) {
	p.t.Helper()
	p.connect(routerID, map[string]any{"subnet_id": subnetID})
}

// PlugPort makes a port an interface of a router, at the port's address.
func (p *RealProject) PlugPort(routerID, portID string) {
	p.t.Helper()
	p.connect(routerID, map[string]any{"port_id": portID})
}

func (p *RealProject) connect(routerID string, at map[string]any) {
	p.t.Helper()
	must(p.t, p.call(p.ctx, Router, "PUT", "routers/"+routerID+"/add_router_interface", at, nil))
}
