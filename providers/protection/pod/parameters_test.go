// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func TestParameters(t *testing.T) {
	t.Parallel()
	plugintest.Parameters(t, schemas, plugintest.Effects{
		protection.Restore: {"restore_name": {Value: "back"}},
	}, func(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
		c, h, ctx := newCluster(t), plugintest.New(t), openstacktest.Context(t)
		if kind != protection.Protect {
			must(t, h.Run(ctx, plugin(c), protection.Protect, h.Call(web)))
		}
		call := h.Call(web)
		call.Parameters = parameters
		if err := h.Run(ctx, plugin(c), kind, call); err != nil || kind != protection.Restore {
			return nil, err
		}
		name, _ := h.NewResources.Get(web.ID)
		return map[string]any{"restore_name": inner(c.Object("pods", "shop", name), "metadata")["name"]}, nil
	})
}
