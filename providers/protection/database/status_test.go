// SPDX-License-Identifier: Apache-2.0

package database

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// An instance that something else is at work on is waited for, also in statuses that
// end by themselves and in which the original gave up.
// trove: instance/models.py
func TestBusyInstancesAreWaitedFor(t *testing.T) {
	t.Parallel()
	for _, status := range []string{
		"BUILD", "RESIZE", "BACKUP", "PROMOTE", "UPGRADE", "REBOOT", "EJECT", "DETACH", "LOGGING",
	} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			f, h := newTrove(t), plugintest.New(t)
			f.Busy("instances", shop.ID, status)
			must(t, h.Run(openstacktest.Context(t), plugin(f), protection.Protect, h.Call(shop)))
		})
	}
}
