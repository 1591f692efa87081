// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// A volume of a snapshot has the type and the zone of the snapshot, and the metadata
// that the volume had.
func TestFidelity(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.Types["fast"], c.Zones = false, []string{"nova", "az2"}
	v := c.AddVolume(disk.ID, "disk", []byte("data"))
	v.Type, v.Zone, v.Metadata = "fast", "az2", map[string]string{"role": "db"}
	p, ctx := plugin(c), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
	h.State = &plugintest.State{}
	must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
	id, _ := h.NewResources.Get(disk.ID)
	if got := c.Find(storage.Volumes, id); got == nil || got.Type != "fast" || got.Zone != "az2" || got.Metadata["role"] != "db" {
		t.Errorf("restored %+v", got)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
	if keys := h.Keys(disk); len(keys) != 1 {
		t.Errorf("left in the bank: %v", keys)
	}
}
