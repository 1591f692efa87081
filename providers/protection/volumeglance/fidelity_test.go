// SPDX-License-Identifier: Apache-2.0

package volumeglance

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

// What Glance would get of an encrypted volume can be read with a key that is gone with
// the temporary image.
func TestEncryptedVolumeIsRefused(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{true, false} {
		c, h := storage.New(t), plugintest.New(t)
		c.Types["luks"] = true
		c.AddVolume(disk.ID, "disk", []byte("data")).Type = "luks"
		err := h.Run(openstacktest.Context(t), plugin(c, snapshot), protection.Protect, h.Call(disk))
		if err == nil || !strings.Contains(err.Error(), "is encrypted") || len(c.Things(storage.Images)) != 0 {
			t.Errorf("got %v; images %v", err, c.Things(storage.Images))
		}
	}
}

func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	volumetest.Elsewhere(t, func(c *storage.Cloud) protection.Plugin { return plugin(c, true) })
}
