// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// What a restore is going to make is foretold, and that a volume of the pod is not restored
// with it.
func TestWhatIsGoneIsForetold(t *testing.T) {
	t.Parallel()
	cluster, h, ctx := newCluster(t), plugintest.New(t), openstacktest.Context(t)
	p := plugin(cluster)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(web)))
	operation, err := p.Operation(protection.Restore, web)
	must(t, err)
	c := h.Call(web, "restore_name", "back")
	c.NewResources = &protection.NewResources{}
	if _, err := operation.Plan(ctx, c); err == nil || !strings.Contains(err.Error(), "was not restored") {
		t.Errorf("got %v", err)
	}
	_, volumes, err := load(ctx, c)
	must(t, err)
	for _, v := range volumes {
		c.NewResources.Set(v.VolumeID, "new "+v.VolumeID)
	}
	makes, err := operation.Plan(ctx, c)
	must(t, err)
	if makes["namespace"] != "shop" || makes["name"] != "back" || !strings.Contains(makes["volumes"], "new ") || cluster.Object("pods", "shop", "back") != nil {
		t.Errorf("planned are %v", makes)
	}
}
