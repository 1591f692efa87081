// SPDX-License-Identifier: Apache-2.0

package volumetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// Fidelity holds a plugin to bringing a volume back in its type and zone and with its
// metadata, and to telling what could not be.
func Fidelity(t *testing.T, newPlugin func(*storage.Cloud) protection.Plugin) {
	t.Helper()
	disk := resource.Resource{Type: resource.Volume, ID: "39bf1b00-ebb7-4ffb-9069-021fda85d377", Name: "disk"}
	for name, tc := range map[string]struct {
		lose       func(c *storage.Cloud)
		kind, zone string
		remarks    map[string]string
	}{
		"as it was":    {func(*storage.Cloud) {}, "fast", "az2", nil},
		"no type":      {func(c *storage.Cloud) { delete(c.Types, "fast") }, storage.DefaultType, "az2", map[string]string{"volume type": "fast -> the default"}},
		"no zone":      {func(c *storage.Cloud) { c.Zones = c.Zones[:1] }, "fast", "nova", map[string]string{"availability zone": "az2 -> the default"}},
		"neither":      {func(c *storage.Cloud) { delete(c.Types, "fast"); c.Zones = c.Zones[:1] }, storage.DefaultType, "nova", map[string]string{"volume type": "fast -> the default", "availability zone": "az2 -> the default"}},
		"not Karbor's": {nil, storage.DefaultType, "nova", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.Types["fast"], c.Zones = false, []string{"nova", "az2"}
			v := c.AddVolume(disk.ID, "disk", []byte("data"))
			v.Type, v.Zone, v.Metadata = "fast", "az2", map[string]string{"role": "db", "readonly": "False"}
			v.Description = "rows"
			p, ctx := newPlugin(c), openstacktest.Context(t)
			v.Group = "g1"
			must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
			if diff := cmp.Diff(map[string]string{"volume group": "g1 -> "}, h.Remarks.Aspects()); diff != "" {
				t.Errorf("remarks of the protect (-want +got):\n%s", diff)
			}
			h.Remarks = &plugintest.Remarks{}
			if tc.lose == nil {
				must(t, h.Call(disk).Section.Delete(ctx, "volume"))
			} else {
				tc.lose(c)
			}
			h.State = &plugintest.State{}
			must(t, plugintest.Foretell(ctx, h, p, h.Call(disk), tc.remarks))
			must(t, h.Run(ctx, p, protection.Restore, h.Call(disk)))
			id, _ := h.NewResources.Get(disk.ID)
			got := c.Find(storage.Volumes, id)
			if got == nil || got.Type != tc.kind || got.Zone != tc.zone {
				t.Fatalf("restored %+v", got)
			}
			if (got.Description == "rows") != (tc.lose != nil) {
				t.Errorf("its description is %q", got.Description)
			}
			if _, readonly := got.Metadata["readonly"]; readonly || (got.Metadata["role"] == "db") != (tc.lose != nil) {
				t.Errorf("its metadata are %v", got.Metadata)
			}
			records := h.Status.Records()
			last := records[len(records)-1]
			if diff := cmp.Diff(tc.remarks, h.Remarks.Aspects(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("remarks (-want +got):\n%s", diff)
			}
			if (tc.remarks == nil) != (last.Reason == "") {
				t.Errorf("recorded %+v", last)
			}
			must(t, h.Run(ctx, p, protection.Delete, h.Call(disk)))
			if keys := h.Keys(disk); len(keys) != 1 {
				t.Errorf("left in the bank: %v", keys)
			}
		})
	}
}

// Elsewhere holds a plugin to bringing a volume back in the type and zone that the user
// chooses, or not at all.
func Elsewhere(t *testing.T, newPlugin func(*storage.Cloud) protection.Plugin) {
	t.Helper()
	disk := resource.Resource{Type: resource.Volume, ID: "39bf1b00-ebb7-4ffb-9069-021fda85d377", Name: "disk"}
	for name, tc := range map[string]struct {
		parameters []string
		encrypted  bool
		kind, zone string // "" of a restore that fails
	}{
		"type and zone":     {[]string{"restore_volume_type", "slow", "restore_availability_zone", "nova"}, false, "slow", "nova"},
		"type":              {[]string{"restore_volume_type", "slow"}, false, "slow", "az2"},
		"no such type":      {[]string{"restore_volume_type", "none"}, false, "", ""},
		"no such zone":      {[]string{"restore_availability_zone", "none"}, false, "", ""},
		"it is encrypted":   {[]string{"restore_volume_type", "slow"}, true, "", ""},
		"encrypted as ever": {[]string{"restore_volume_type", "fast"}, true, "fast", "az2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.Types["fast"], c.Types["slow"], c.Zones = tc.encrypted, false, []string{"nova", "az2"}
			v := c.AddVolume(disk.ID, "disk", []byte("data"))
			v.Type, v.Zone = "fast", "az2"
			p, ctx := newPlugin(c), openstacktest.Context(t)
			if err := h.Run(ctx, p, protection.Protect, h.Call(disk)); err != nil && tc.encrypted {
				return // some plugins protect no such volume
			} else {
				must(t, err)
			}
			h.State = &plugintest.State{}
			foretold := plugintest.Foretell(ctx, h, p, h.Call(disk, tc.parameters...), nil)
			err := h.Run(ctx, p, protection.Restore, h.Call(disk, tc.parameters...))
			if (err == nil) != (foretold == nil) {
				t.Errorf("%v was foretold, and there came %v", foretold, err)
			}
			id, _ := h.NewResources.Get(disk.ID)
			switch got := c.Find(storage.Volumes, id); {
			case tc.kind == "" && (err == nil || got != nil || len(h.Remarks.Aspects()) > 0):
				t.Errorf("restored %+v with %v, got %v", got, h.Remarks.Aspects(), err)
			case tc.kind != "" && (err != nil || got == nil || got.Type != tc.kind || got.Zone != tc.zone):
				t.Errorf("restored %+v: %v", got, err)
			}
		})
	}
}
