// SPDX-License-Identifier: Apache-2.0

package server

import (
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func effects(network, flavor string) plugintest.Effects {
	return plugintest.Effects{protection.Restore: {
		"restore_name":      {Value: "back"},
		"restore_net_id":    {Value: network},
		"restore_flavor_id": {Value: flavor},
	}}
}

// withOther makes an estate with one more network, which has the same id in each.
func withOther(t testing.TB) (*estate, string) {
	e := newEstate(t, imageID)
	other := e.Add(neutron.Networks, thing{"name": "other"})
	e.Add(neutron.Subnets, thing{"network_id": other.ID(), "cidr": "10.3.0.0/24", "ip_version": 4})
	return e, other.ID()
}

func TestParameters(t *testing.T) {
	t.Parallel()
	_, other := withOther(t)
	plugintest.Parameters(t, original(), effects(other, "2"), func(_ testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
		e, other := withOther(t)
		f := &flow{plugintest.New(t), e, t}
		if kind != protection.Protect {
			must(t, f.do(protection.Protect))
		}
		c := f.Call(f.server)
		c.Graph, c.Parameters = f.graph, parameters
		if kind == protection.Restore {
			for original, restored := range f.restored {
				f.NewResources.Set(original, restored)
			}
			f.lose()
		}
		if err := f.Run(openstacktest.Context(t), newPlugin(f), kind, c); err != nil || kind != protection.Restore {
			return nil, err
		}
		s, _ := f.made()
		nics := f.Nics(s.ID)
		shown := map[string]any{"restore_name": s.Name, "restore_flavor_id": s.Flavor, "restore_net_id": nics[0].Network}
		if len(nics) == 1 && nics[0].Network == "other" {
			shown["restore_net_id"] = other
		}
		return shown, nil
	})
}

// TestRealParameters restores servers of a real Nova beside the old one, from its
// own image.
func TestRealParameters(t *testing.T) {
	t.Parallel()
	p := openstacktest.NewRealProject(t, "KARBOR_TEST_NOVA", "KARBOR_TEST_NEUTRON", "KARBOR_TEST_GLANCE", "KARBOR_TEST_CINDER")
	network, _ := p.CreateNetwork("front")
	other, _ := p.CreateNetwork("other")
	image := p.UploadImage("disk", openstacktest.Noise(1000))
	r := resource.Resource{Type: resource.Server, ID: p.CreateServer("old", network, map[string]any{"imageRef": image}), Name: "old"}
	graph := &resource.Graph{Roots: []*resource.Node{{Resource: r, Children: []*resource.Node{{Resource: resource.Resource{Type: resource.Image, ID: image}}}}}}
	plugin := New(poll.Config{PollInterval: 300 * time.Millisecond}, p.Factory)
	plugintest.Parameters(t, original(), effects(other, p.Flavor("m1.tiny")), func(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
		h := plugintest.New(t)
		if kind != protection.Protect {
			c := h.Call(r)
			c.Graph = graph
			must(t, h.Run(p.Context(), plugin, protection.Protect, c))
		}
		h.NewResources.Set(image, image)
		c := h.Call(r)
		c.Graph, c.Parameters = graph, parameters
		if err := h.Run(p.Context(), plugin, kind, c); err != nil || kind != protection.Restore {
			return nil, err
		}
		id, _ := h.NewResources.Get(r.ID)
		s := p.Show(openstacktest.Server, id)
		shown := map[string]any{"restore_name": s["name"], "restore_flavor_id": s["flavor"].(map[string]any)["id"]}
		if addresses := s["addresses"].(map[string]any); len(addresses) == 1 && addresses["other"] != nil {
			shown["restore_net_id"] = other
		}
		p.Delete(openstacktest.Server, id)
		return shown, nil
	})
}

// original are the schemas without the parameters that have tests of their own.
func original() protection.Schemas {
	s := schemas
	s.Added = nil
	return s
}
