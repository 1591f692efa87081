// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/volume/volumetest"
)

func TestFidelity(t *testing.T) {
	t.Parallel()
	volumetest.Fidelity(t, func(c *storage.Cloud) protection.Plugin { return plugin(c, true) })
}

// A backup of an encrypted volume comes back into its type, or not at all.
func TestEncryptedVolume(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{true, false} {
		c, h := storage.New(t), plugintest.New(t)
		c.Types["luks"] = true
		c.AddVolume(disk.ID, "disk", []byte("data")).Type = "luks"
		p, ctx := plugin(c, true), openstacktest.Context(t)
		must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
		if h.State = (&plugintest.State{}); !there {
			delete(c.Types, "luks")
		}
		err := h.Run(ctx, p, protection.Restore, h.Call(disk))
		if there {
			must(t, err)
			id, _ := h.NewResources.Get(disk.ID)
			if v := c.Find(storage.Volumes, id); v == nil || v.Type != "luks" || string(v.Data) != "data" {
				t.Errorf("restored %+v", v)
			}
		} else if err == nil || !strings.Contains(err.Error(), "luks") || len(c.Things(storage.Volumes)) != 1 {
			t.Errorf("got %v; volumes %v", err, c.Things(storage.Volumes))
		}
	}
}

func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	volumetest.Elsewhere(t, func(c *storage.Cloud) protection.Plugin { return plugin(c, true) })
}
