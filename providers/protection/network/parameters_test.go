// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// site is a Neutron, real or not, with a project that has one network.
type site struct {
	*openstack.Factory
	ctx     context.Context
	project resource.Resource
	network string
	discard func(id string) // of a network that was restored
}

func TestParameters(t *testing.T) {
	t.Parallel()
	s := neutron.New(t)
	network := s.Add(neutron.Networks, thing{"name": "only"})
	parameters(t, &site{
		Factory: s.Factory, ctx: openstacktest.Context(t), project: theProject, network: network.ID(),
		discard: func(id string) { s.Drop(neutron.Networks, id) },
	})
}

func TestRealParameters(t *testing.T) {
	t.Parallel()
	p := openstacktest.NewRealProject(t, "KARBOR_TEST_NEUTRON")
	network := p.Create(openstacktest.Network, map[string]any{"name": "only"})
	parameters(t, &site{
		Factory: p.Factory, ctx: p.Context(), project: resource.Resource{Type: resource.Network, ID: p.ID()}, network: network,
		discard: func(id string) { p.Delete(openstacktest.Network, id) },
	})
}

func parameters(t *testing.T, s *site) {
	plugintest.Parameters(t, schemas, plugintest.Effects{
		protection.Restore: {"restore_name": {Value: "back"}},
	}, s.look)
}

func (s *site) look(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
	t.Helper()
	h, plugin := plugintest.New(t), New(poll.Config{PollInterval: 100 * time.Millisecond}, s.Factory)
	if kind != protection.Protect {
		must(t, h.Run(s.ctx, plugin, protection.Protect, h.Call(s.project)))
	}
	c := h.Call(s.project)
	c.Parameters = parameters
	if err := h.Run(s.ctx, plugin, kind, c); err != nil || kind != protection.Restore {
		return nil, err
	}
	id, _ := h.NewResources.Get(s.network)
	client, err := s.Network(s.ctx)
	must(t, err)
	restored, err := openstack.Show[map[string]any](s.ctx, client, "networks", id, "network")
	must(t, err)
	s.discard(id)
	return map[string]any{"restore_name": (*restored)["name"]}, nil
}
