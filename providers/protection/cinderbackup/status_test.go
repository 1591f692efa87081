// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"slices"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// A volume that something else is at work on is waited for, also in statuses that
// Cinder did not have when the original was written.
// cinder: objects/fields.py
func TestBusyVolumesAreWaitedFor(t *testing.T) {
	t.Parallel()
	for _, status := range []string{
		"creating", "attaching", "detaching", "reserved", "maintenance", "awaiting-transfer", "backing-up", "restoring-backup",
		"downloading", "uploading", "extending", "retyping", "managing",
	} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			c, h := storage.New(t), plugintest.New(t)
			c.AddVolume(disk.ID, "disk", nil)
			c.Busy(storage.Volumes, disk.ID, status)
			must(t, h.Run(openstacktest.Context(t), plugin(c, false), protection.Protect, h.Call(disk)))
		})
	}
}

// Cinder tells of snapshots how far they are.
func TestProgress(t *testing.T) {
	t.Parallel()
	c, h := storage.New(t), plugintest.New(t)
	c.AddVolume(disk.ID, "disk", nil)
	call := h.Call(disk)
	var told []int
	call.Progress = func(percent int) { told = append(told, percent) }
	must(t, h.Run(openstacktest.Context(t), plugin(c, true), protection.Protect, call))
	if !slices.Contains(told, 40) {
		t.Errorf("told %v", told)
	}
}
