// SPDX-License-Identifier: Apache-2.0

package database

import (
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// What a restore is going to ask for is foretold, and nothing is made; and so is that the
// backup is gone.
func TestWhatIsGoneIsForetold(t *testing.T) {
	t.Parallel()
	f, h, ctx := newTrove(t), plugintest.New(t), openstacktest.Context(t)
	p := plugin(f)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(shop)))
	operation, err := p.Operation(protection.Restore, shop)
	must(t, err)
	c := h.Call(shop, "restore_name", "back", "restore_flavor_id", "7")
	makes, err := operation.Plan(ctx, c)
	must(t, err)
	if makes["name"] != "back" || makes["flavorRef"] != "7" || len(f.Things("instances")) != 1 {
		t.Errorf("planned are %v, and there are %d instances", makes, len(f.Things("instances")))
	}
	f.Things("backups")[0].ID = "other"
	if _, err := operation.Plan(ctx, c); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("got %v", err)
	}
}
