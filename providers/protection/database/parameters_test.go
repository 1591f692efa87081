// SPDX-License-Identifier: Apache-2.0

package database

import (
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func TestParameters(t *testing.T) {
	t.Parallel()
	plugintest.Parameters(t, schemas, plugintest.Effects{
		protection.Protect: {"backup_name": {Value: "nightly"}, "description": {Value: "of the shop"}},
		protection.Restore: {
			"restore_name": {Value: "back"}, "restore_flavor_id": {Value: "7"}, "restore_net_id": {Value: "n1"},
			"restore_availability_zone": {Value: "az2"}, "restore_volume_type": {Value: "fast"},
		},
	}, func(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
		f, h, ctx := newTrove(t), plugintest.New(t), openstacktest.Context(t)
		if kind != protection.Protect {
			must(t, h.Run(ctx, plugin(f), protection.Protect, h.Call(shop)))
		}
		c := h.Call(shop)
		c.Parameters = parameters
		if err := h.Run(ctx, plugin(f), kind, c); err != nil || kind == protection.Verify {
			return nil, err
		}
		if kind == protection.Restore {
			made := f.Things("instances")[1]
			shown := map[string]any{"restore_name": made.Field("name"), "restore_flavor_id": made.Fields["flavorRef"],
				"restore_availability_zone": made.Fields["availability_zone"], "restore_volume_type": made.Fields["volume"].(map[string]any)["type"]}
			if nics, ok := made.Fields["nics"].([]any); ok && len(nics) == 1 {
				shown["restore_net_id"] = nics[0].(map[string]any)["net-id"]
			}
			return shown, nil
		}
		backup := f.Things("backups")[0]
		description, _, _ := strings.Cut(backup.Field("description"), " [karbor ")
		return map[string]any{"backup_name": backup.Field("name"), "description": description}, nil
	})
}
