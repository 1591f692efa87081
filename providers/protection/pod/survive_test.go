// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// withVolumes is a plugin beside which the volumes are protected and restored.
type withVolumes struct{ protection.Plugin }

func (w withVolumes) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	operation, err := plugintest.Restored(w.Plugin, map[string]string{claimed: restoredClaimed, direct: restoredDirect}).Operation(kind, r)
	if err != nil || kind != protection.Protect {
		return operation, err
	}
	main := operation.Main
	operation.Main = func(ctx context.Context, c *protection.Call) error {
		c.Graph = &resource.Graph{Roots: []*resource.Node{{Resource: c.Resource, Children: []*resource.Node{
			{Resource: resource.Resource{Type: resource.Volume, ID: claimed}}, {Resource: resource.Resource{Type: resource.Volume, ID: direct}},
		}}}}
		return main(ctx, c)
	}
	return operation, nil
}

func TestSurvives(t *testing.T) {
	t.Parallel()
	plugintest.Survive(t, plugintest.Options{}, func(t testing.TB) *plugintest.World {
		c := newCluster(t)
		return &plugintest.World{
			Service:  c,
			Resource: web,
			Plugin: func(p *plugintest.Process) protection.Plugin {
				return withVolumes{New(poll.Config{PollInterval: time.Millisecond}, c.Wrapped(p.Transport))}
			},
			Caller: requestcontext.From(openstacktest.Context(t)),
			Parameters: map[protection.Kind]protection.Parameters{
				protection.Restore: {"restore_name": []byte(`"web-restored"`)},
			},
		}
	})
}
