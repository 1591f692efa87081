// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/nova"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

const imageID = "5a4c1c9e-0000-4000-8000-00000000000a"

type (
	thing  = neutron.Thing
	object = map[string]any
	array  = []any
)

// estate is a server in a cloud, with two network cards, a floating IP, a root, two
// volumes of data, of which one could be booted from, and what a restore makes of
// these before the server's turn.
type estate struct {
	*nova.Cloud
	server            resource.Resource
	old               *nova.Server
	graph             *resource.Graph
	root, data, spare *nova.Volume
	front, back       thing
	frontNic, backNic thing
	ip                thing
	restored          map[string]string
}

// newEstate makes one. Without an image its server boots from the volume root.
func newEstate(t testing.TB, image string) *estate {
	t.Helper()
	e := &estate{Cloud: nova.New(t), restored: map[string]string{}}
	e.KeyPairs, e.Images = []string{"mine"}, []string{imageID, "restored-image"}
	public := e.Add(neutron.Networks, thing{"name": "public", "router:external": true, "project_id": "other"})
	e.Add(neutron.Subnets, thing{"network_id": public.ID(), "cidr": "203.0.113.0/24", "ip_version": 4})
	e.front = e.Add(neutron.Networks, thing{"name": "front"})
	frontSubnet := e.Add(neutron.Subnets, thing{"network_id": e.front.ID(), "cidr": "10.1.0.0/24", "ip_version": 4})
	e.back = e.Add(neutron.Networks, thing{"name": "back"})
	backSubnet := e.Add(neutron.Subnets, thing{"network_id": e.back.ID(), "cidr": "10.2.0.0/24", "ip_version": 4})
	router := e.Add(neutron.Routers, thing{"name": "edge", "external_gateway_info": object{"network_id": public.ID()}})
	e.Plug(router, frontSubnet)
	web := e.Add(neutron.Groups, thing{"name": "web"})
	e.backNic = e.Add(neutron.Ports, thing{
		"network_id": e.back.ID(), "security_groups": array{web.ID()},
		"fixed_ips": array{thing{"subnet_id": backSubnet.ID(), "ip_address": "10.2.0.20"}, thing{"subnet_id": backSubnet.ID(), "ip_address": "10.2.0.21"}},
	})
	e.frontNic = e.Add(neutron.Ports, thing{
		"network_id": e.front.ID(), "security_groups": array{web.ID()},
		"fixed_ips": array{thing{"subnet_id": frontSubnet.ID(), "ip_address": "10.1.0.20"}},
	})
	e.ip = e.Add(neutron.FloatingIPs, thing{"floating_network_id": public.ID(), "floating_ip_address": "203.0.113.9", "port_id": e.frontNic.ID()})

	e.data, e.spare = e.AddVolume("data", false), e.AddVolume("spare", true)
	volumes := []*nova.Volume{e.data, e.spare}
	if image == "" {
		e.root = e.AddVolume("root", true)
		volumes = []*nova.Volume{e.root, e.data, e.spare}
	}
	s := e.AddServer("old", image, []thing{e.frontNic, e.backNic}, volumes...)
	s.Key, s.Groups, s.Metadata = "mine", []string{"web"}, map[string]string{"role": "db"}

	e.old = s
	e.server = resource.Resource{Type: resource.Server, ID: s.ID, Name: s.Name}
	node := &resource.Node{Resource: e.server}
	for _, v := range volumes {
		node.Children = append(node.Children, &resource.Node{Resource: resource.Resource{Type: resource.Volume, ID: v.ID, Name: v.Name}})
		e.restored[v.ID] = e.AddVolume("restored "+v.Name, false).ID
	}
	if image != "" {
		node.Children = append(node.Children, &resource.Node{Resource: resource.Resource{Type: resource.Image, ID: image}})
		e.restored[image] = "restored-image"
	}
	// Nested in a project.
	e.graph = &resource.Graph{Roots: []*resource.Node{{Resource: resource.Resource{Type: resource.Project, ID: openstacktest.Project}, Children: []*resource.Node{node}}}}
	return e
}

func newPlugin(clients Clients) *Plugin {
	return New(poll.Config{PollInterval: time.Millisecond}, clients)
}

// among is the plugin in a restore that has made the server's parts, after the old
// server was lost.
type among struct {
	protection.Plugin
	estate *estate
}

func (a among) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	operation, err := plugintest.Restored(a.Plugin, a.estate.restored).Operation(kind, r)
	if err != nil || kind != protection.Protect {
		return operation, err
	}
	main := operation.Main
	operation.Main = func(ctx context.Context, c *protection.Call) error {
		if err := main(ctx, c); err != nil {
			return err
		}
		a.estate.Destroy(r.ID)
		return nil
	}
	return operation, nil
}

func worldOf(t testing.TB, e *estate, plugin func(p *plugintest.Process) protection.Plugin) *plugintest.World {
	return &plugintest.World{
		Service:  e,
		Resource: e.server,
		Graph:    e.graph,
		Plugin:   plugin,
		Caller:   requestcontext.From(openstacktest.Context(t)),
		Parameters: map[protection.Kind]protection.Parameters{
			protection.Restore: {"restore_name": json.RawMessage(`"new"`)},
		},
	}
}

func TestSurvives(t *testing.T) {
	t.Parallel()
	options := plugintest.Options{Kinds: []protection.Kind{protection.Protect, protection.Verify, protection.Delete, protection.Copy}}
	plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
		e := newEstate(t, "")
		return worldOf(t, e, func(p *plugintest.Process) protection.Plugin { return newPlugin(e.Wrapped(p.Transport)) })
	})
}

func TestSurvivesRestore(t *testing.T) {
	t.Parallel()
	options := plugintest.Options{Kinds: []protection.Kind{protection.Restore}}
	for name, image := range map[string]string{"from an image": imageID, "from a volume": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
				e := newEstate(t, image)
				e.old.Description, e.old.Tags = "of all", []string{"blue"}
				return worldOf(t, e, func(p *plugintest.Process) protection.Plugin {
					return among{newPlugin(e.Wrapped(p.Transport)), e}
				})
			})
		})
	}
}

func TestConforms(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, newPlugin(nova.New(t)))
}
