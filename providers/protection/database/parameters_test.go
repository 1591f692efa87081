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
		protection.Restore: {"restore_name": {Value: "back"}},
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
			return map[string]any{"restore_name": f.Things("instances")[1].Field("name")}, nil
		}
		backup := f.Things("backups")[0]
		description, _, _ := strings.Cut(backup.Field("description"), " [karbor ")
		return map[string]any{"backup_name": backup.Field("name"), "description": description}, nil
	})
}
